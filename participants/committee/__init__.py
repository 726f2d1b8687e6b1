"""A member of the committee of three that computes on shares (sum = "mpc"): docs/protocol.md, "The committee".

`terms` is shared with the hospitals' side; `machine` decides what is recorded, `job` computes in a process of its
own, `member` moves bytes.
"""
