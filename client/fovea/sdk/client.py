"""The way in: `Client(namespace=…).jobs.submit(…).wait()`."""

from functools import cached_property
from typing import TYPE_CHECKING

from .cluster import Cluster
from .jobs import Jobs
from .rollout import SECONDS as ROLLOUT_SECONDS

if TYPE_CHECKING:
    from .data import Data
    from .deployments import Deployments
    from .models import Models
    from .predictions import Predictions
    from .predictor import Predictor
    from .versions import Versions


class Client:
    """Fovea in one namespace of one cluster, as one user sees it.

    Without arguments: the kubeconfig's current context and its namespace, or inside a pod without a kubeconfig its own
    service account and namespace. Nothing is connected before the first verb.
    """

    def __init__(
        self,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | None = None,
        store_endpoint: str | None = None,
    ) -> None:
        self.cluster = Cluster(context=context, kubeconfig=kubeconfig, namespace=namespace)
        self._store_endpoint = store_endpoint

    @property
    def namespace(self) -> str:
        """The namespace that the verbs act on."""
        return self.cluster.namespace

    @cached_property
    def jobs(self) -> Jobs:
        """Training jobs."""
        return Jobs(self.cluster, store_endpoint=self._store_endpoint)

    @cached_property
    def versions(self) -> "Versions":
        """Model versions."""
        from .versions import Versions

        return Versions(self.cluster, store_endpoint=self._store_endpoint)

    @cached_property
    def models(self) -> "Models":
        """Models: their versions and what serves them."""
        from .models import Models

        return Models(self.cluster)

    @cached_property
    def deployments(self) -> "Deployments":
        """ModelDeployments: their rollouts."""
        from .deployments import Deployments

        return Deployments(self.cluster)

    @cached_property
    def predictions(self) -> "Predictions":
        """Batch predictions."""
        from .predictions import Predictions

        return Predictions(self.cluster, store_endpoint=self._store_endpoint)

    @cached_property
    def data(self) -> "Data":
        """Data sets in the object store."""
        from .data import Data

        return Data(self.cluster, store_endpoint=self._store_endpoint)

    def predictor(
        self,
        model: str,
        *,
        endpoint: str | None = None,
        host: str = "",
        gateway: str = "",
        rollout_timeout: float = ROLLOUT_SECONDS,
    ) -> "Predictor":
        """A channel to the model's server, found through its ModelDeployment unless `endpoint` (host:port) is given.

        `host`: the model's name at a gateway that `endpoint` leads to, for example digits.vision.svc. `gateway`: HOST or HOST:PORT
        of a gateway of all models; the model's name there is found in the cluster.
        Waits for a first version that is starting, `rollout_timeout` seconds at most.
        """
        from .predictor import Predictor

        return Predictor(
            model,
            endpoint=endpoint,
            host=host,
            gateway=gateway,
            cluster=self.cluster,
            rollout_timeout=rollout_timeout,
        )
