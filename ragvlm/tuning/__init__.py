"""Training on a corpus of one's own: what all ``tune`` commands share, and a file a command (docs/tuning.md).

``split`` parts the records by subject, ``settings`` says how long and how fast to learn, ``folder`` keeps what a kill
must not lose and lets the result appear whole, ``fit`` runs transformers' Trainer, ``trainer`` and ``checkpoints`` keep
pickle out of it, ``card`` and ``page`` say what came out.
"""
