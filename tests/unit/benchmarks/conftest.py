"""Scripts of benchmarks/ find their folders beside them; so do these tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
