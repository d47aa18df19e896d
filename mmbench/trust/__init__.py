"""What makes a run's claims checkable: its plan, its seal, a signature, and everything recomputed from what it stored.

What each can prove, and what none of them can, stands in docs/trust.md.
"""
