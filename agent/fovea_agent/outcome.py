"""How a command ends, whatever it raises: what is said of it, and its exit code."""

import errno
from collections.abc import Callable

from fovea_api.contract.report import Termination
from fovea_api.standard_output import nobody_reads

from fovea_agent import log
from fovea_agent.errors import AgentError, VolumeProblem

Result = tuple[Termination, int]


def outcome(run: Callable[[], Result]) -> Result:
    """Run it. Raises nothing but OSError of a standard output that nobody reads."""
    try:
        return run()
    except AgentError as error:
        return error.termination(), error.exit_code
    except OSError as error:
        if nobody_reads(error):
            raise
        problem = volume_problem(error)
        return problem.termination(), problem.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: said with its traceback, and to the operator
        log.error("defect", with_traceback=True)
        failure = AgentError(f"the agent failed on {error!r}: its log has the traceback; please report it")
        return failure.termination(), failure.exit_code


def volume_problem(error: OSError) -> VolumeProblem:
    """What an error of the volume means, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VolumeProblem("the pod's working volume is full: request more ephemeral storage, or fetch and keep less")
    return VolumeProblem(f"the pod's working volume cannot be used: {error}")
