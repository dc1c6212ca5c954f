"""A forensic comparison of voices that can be checked by others: the case and all that is done with it.

In order: `log` (the chained record of acts), `folder` (the case on the disk), `facts` (what the case is about), `items`
(questioned and known recordings), `fitness` (may they be compared), `comparison`, `validation`, `notes` (what people
add), `report` and its formats, `signature`, `rederivation` (every digest and figure computed again).
"""
