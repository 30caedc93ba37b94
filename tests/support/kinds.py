"""The kinds that tests of the operator name."""

from fovea_operator.cluster import resources

POD = resources.POD.gvk
SERVICE = resources.SERVICE.gvk
DEPLOYMENT = resources.DEPLOYMENT.gvk
TRAINING_JOB = resources.TRAINING_JOB.gvk
MODEL_VERSION = resources.MODEL_VERSION.gvk
MODEL_DEPLOYMENT = resources.MODEL_DEPLOYMENT.gvk
