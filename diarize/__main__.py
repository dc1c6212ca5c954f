"""`python -m diarize`: the command line, where the script `diarize` is not on the PATH."""

import sys

if __name__ == "__main__":
    from run_pipeline import main

    sys.exit(main())
