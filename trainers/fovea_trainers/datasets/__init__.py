"""Data sets that are made: small, seeded, each in the layout of a public one; `fovea-train make-dataset` writes them.

A data set is a module in here: `HELP`, one line, and `write(root, *, count, seed)`, which fills an existing empty folder.
The same count and seed give the same bytes. `COUNT` is the count where none is given; without it, 1,000. A module with
`PICTURES_EACH`, the number of pictures of each person where none is given, takes `pictures` as well. What imports
TensorFlow stands in functions: the list of data sets is shown without it.
"""
