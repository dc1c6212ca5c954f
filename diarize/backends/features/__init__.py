"""What networks take in place of samples: filter banks and spectrograms (`front_ends`), and their mean over a long
recording (`sliding_mean`).
"""
