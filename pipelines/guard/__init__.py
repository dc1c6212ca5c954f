"""One attempt of a person to be recognised, with all guards: challenges, the check, what follows from an identity.

In order: `challenges` (kept in a library), `attempt` (a recording against a claim), `fused` (with other modalities),
`personal` (preferences, and the command or function that gets them).
"""
