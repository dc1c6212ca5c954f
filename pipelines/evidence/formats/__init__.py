"""One document in several formats: `document` (its blocks), `html`, `pdf` and `docx` (writers), `plots` (pictures)."""
