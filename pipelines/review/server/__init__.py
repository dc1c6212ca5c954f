"""The local server of the review page (docs/review.md).

In order: `listening` (a socket on 127.0.0.1, bounded connections), `gate` (token, Host, Origin, headers, size of
bodies), `app` (addresses and answers), `ranges` (parts of a file), `recordings` (the recordings of a folder, their
corrections).
"""
