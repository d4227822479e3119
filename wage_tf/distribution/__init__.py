"""Training on several devices and hosts, with bit for bit the weights of one device at the same global batch.

`replicas` is the arithmetic (the maximum that Shift needs, over all replicas), `devices` makes the TensorFlow strategy,
`cluster` reads TF_CONFIG and waits for its workers, `agreement` lets them begin alike, `trainer` drives Keras' `fit`.
How and how far it scales: docs/scaling.md.
"""
