"""Sources of utterances -> clips: samples with the names of speakers, decoded once, in a file that is mapped.

corpora: folders, manifests, lhotse cuts; archives: Common Voice, read from the tar -> clips: all of them, decoded
"""
