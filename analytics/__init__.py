"""What can be asked: one file per analysis, pure functions of tables, arrays and state.

This room knows no network, no cryptography and no chain.
"""
