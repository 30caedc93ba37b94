"""The lab of operator_burst.py: what is measured, who is measured, and how it is read."""
