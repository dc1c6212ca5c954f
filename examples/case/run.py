"""The example case, command by command, to the report.

    python examples/case/run.py CASE

Each line is what a user types after `diarize`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from run_pipeline import main  # noqa: E402

COMMANDS = """
case new CASE --number EXAMPLE-1 --examiner 'A. Beck' --requested-by 'District court of Example Town'
  --received 2026-11-02 --question 'Does the speaker of Q1 also speak in K1 and K2?' --reviewer 'C. Doe'
  --independence 'No connection to a party.' --population 'synthetic voices of English, close microphone, Opus'
  --population-by 'A. Beck' --language en --basis 'synthetic voices, nobody is concerned'
  --retain-until 2027-12-31 --blind
case add CASE --questioned HERE/questioned.ogg --received-from 'Unit 4' --received-on 2026-11-02 --seal 'S-118'
case add CASE --known HERE/known-1.ogg --received-from 'Unit 4' --received-on 2026-11-02 --seal 'S-119'
case add CASE --known HERE/known-2.ogg --received-from 'Unit 4' --received-on 2026-11-02 --seal 'S-119'
case note CASE --kind quality --item Q1 --name 'A. Beck' 'Synthetic voice, clear, no background, one speaker.'
case note CASE --kind quality --item K1 --name 'A. Beck' 'Synthetic voice, clear, one speaker.'
case note CASE --kind quality --item K2 --name 'A. Beck' 'Synthetic voice, clear, one speaker, short.'
case validate CASE --trials HERE/validation/trials.txt --audio HERE/validation
case compare CASE
case show CASE --operator 'A. Beck'
case note CASE --kind validation --name 'A. Beck' 'Not good enough for a real case: synthetic voices, few speakers.'
case note CASE --kind competence --name 'A. Beck' 'Trained in the laboratory in 2026; two proficiency tests passed.'
case note CASE --kind separate --name 'A. Beck' 'Yes: no synthetic voice is in the calibration data.'
case note CASE --kind conclusion --name 'A. Beck' 'An example: nothing follows from it about real voices.'
case report CASE --language en,de --formats html,pdf,docx --date 2026-12-01 --operator 'A. Beck'
"""


def run(case: Path, options: tuple[str, ...] = ()) -> int:
    """All commands; `options` follow those that use models. The exit status of the first that fails, or 0."""
    for line in COMMANDS.strip().replace("\n  ", " ").split("\n"):
        words = [word.replace("HERE/", f"{Path(__file__).parent}/") for word in shlex.split(line)]
        words[2] = str(case)
        models = options if words[1] in ("add", "validate", "compare") else ()
        if status := main([*words, *models]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
