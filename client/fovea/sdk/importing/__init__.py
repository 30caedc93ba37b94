"""Jobs of other systems as TrainingJobs: a Kubeflow TFJob and a training job of Cloud ML. Pure, from a document to a manifest.

source.py     a value of the source and where it stands
draft.py      what was taken, changed and dropped, field by field; what is not accounted for is reported as unknown
fitting.py    pieces of pods that Fovea's own types describe: its fields are kept, others are named
template.py   a pod template: program, volumes, placement
amounts.py    resources of a container as amounts of a MachineType
machines.py   which MachineTypes have to exist, and how they could look
shape.py      numbers of pods by role and the distribution that they need
sharing.py    roles of a TFJob have a template each, roles of a TrainingJob share one container
tfjob.py      kubeflow.org/v1 TFJob
hosted.py     trainingInput of Cloud ML; hosted_machines.py has its machine types
imported.py   the entry: which source it is, the manifest and the report
"""
