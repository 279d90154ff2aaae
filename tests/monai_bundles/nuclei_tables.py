"""The tables of the class imbalance paper as they are printed: written from its text, not from the experiments.

The heads are translated, the arrows left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .configs import read_json

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "pathology_nuclei_imbalance_segmentation"
EXPERIMENTS = {
    path.stem.removeprefix("table_").replace("_", ".", 1): path for path in sorted(BUNDLE.glob("experiments/*.json"))
}
"""Number of a table → its file; of two data sets, MoNuSAC's has ``_monusac`` behind the number."""
NUMBERED = {"4.16": "4.15", "4.18": "4.17"}
"""Table of numbered combinations → the one that names them."""
COMBINATIONS = ("4.3", "4.4", "4.6", "4.7", "4.8", "4.10")
"""Tables of rows "network / losses"."""

PRINTED = {
    "3.1": """
            | neutrophil | epithelial | lymphocyte | plasma | eosinophil | connective | background
hard pixels | 9.915      | 16.67      | 20.18      | 13.22  | 4.803      | 17.55      | 17.66
all pixels  | 0.126      | 10.308     | 1.855      | 0.551  | 0.103      | 3.081      | 83.975
""",
    "3.2": """
class      | weight
neutrophil | 0.39031
epithelial | 0.00473
lymphocyte | 0.02632
plasma     | 0.08854
eosinophil | 0.47268
connective | 0.01584
background | 0.00058
""",
    "3.3": """
class      | weight
foreground | 0.83977
background | 0.16023
""",
    "4.2": """
class      | share (%)
neutrophil | 0.363
epithelial | 10.905
lymphocyte | 4.422
macrophage | 1.737
background | 82.574
""",
    "4.3": """
combination      | Dice   | mIoU   | mAP    | mean recall
DeepLab / Dice   | 0.6167 | 0.2640 | 0.4043 | 0.3032
AttU-Net / Dice  | 0.6045 | 0.2683 | 0.3525 | 0.3521
U-Net3+ / Dice   | 0.4978 | 0.1705 | 0.2049 | 0.2722
U-Net++ / Dice   | 0.5248 | 0.1955 | 0.2424 | 0.2746
U-Net / Dice     | 0.4102 | 0.2231 | 0.2996 | 0.3899
DeepLab / Focal  | 0.2823 | 0.1314 | 0.2944 | 0.2484
AttU-Net / Focal | 0.2957 | 0.1644 | 0.2866 | 0.3018
U-Net3+ / Focal  | 0.3363 | 0.1916 | 0.3487 | 0.2959
U-Net++ / Focal  | 0.3962 | 0.2279 | 0.3695 | 0.3395
U-Net / Focal    | 0.3360 | 0.1924 | 0.3400 | 0.3020
""",
    "4.4": """
combination        | Dice   | mIoU   | mAP    | mean recall
DeepLab / CE       | 0.5034 | 0.1678 | 0.1945 | 0.2050
DeepLab / Focal    | 0.2823 | 0.1314 | 0.2944 | 0.2484
DeepLab / Dice     | 0.6167 | 0.2640 | 0.4043 | 0.3032
DeepLab / Tversky  | 0.5857 | 0.2408 | 0.4074 | 0.2790
DeepLab / OB       | 0.4023 | 0.1076 | 0.1405 | 0.1257
AttU-Net / CE      | 0.5459 | 0.2218 | 0.2651 | 0.2969
AttU-Net / Focal   | 0.2957 | 0.1644 | 0.2866 | 0.3018
AttU-Net / Dice    | 0.6045 | 0.2683 | 0.3525 | 0.3521
AttU-Net / Tversky | 0.5905 | 0.2444 | 0.3279 | 0.3584
AttU-Net / OB      | 0.2849 | 0.0644 | 0.1540 | 0.1561
""",
    "4.5": """
combination      | neutrophil | epithelial | lymphocyte | plasma | eosinophil | connective | background
DeepLab / CE     | 0          | 0.3592     | 0          | 0      | 0          | 0          | 0.8682
DeepLab / Focal  | 0.0131     | 0.2905     | 0.1047     | 0.0268 | 0.0057     | 0.0460     | 0.4319
AttU-Net / CE    | 0          | 0.2699     | 0.316      | 0.0463 | 0          | 0          | 0.8860
AttU-Net / Focal | 0.0071     | 0.2024     | 0.1506     | 0.0609 | 0.0207     | 0.1186     | 0.6167
""",
    "4.6": """
combination      | Dice   | mIoU   | mAP    | mean recall
DeepLab / Dice   | 0.5510 | 0.2328 | 0.2838 | 0.3120
AttU-Net / Dice  | 0.4340 | 0.2408 | 0.3495 | 0.3535
U-Net3+ / Dice   | 0.3383 | 0.1987 | 0.2840 | 0.2773
U-Net++ / Dice   | 0.2786 | 0.2138 | 0.2650 | 0.3231
U-Net / Dice     | 0.3077 | 0.2390 | 0.3134 | 0.3769
DeepLab / Focal  | 0.2808 | 0.0370 | 0.1465 | 0.0393
AttU-Net / Focal | 0.3254 | 0.1324 | 0.2061 | 0.2387
U-Net3+ / Focal  | 0.2951 | 0.1208 | 0.2121 | 0.2505
U-Net++ / Focal  | 0.3173 | 0.1515 | 0.2287 | 0.2652
U-Net / Focal    | 0.2475 | 0.1019 | 0.1933 | 0.2303
""",
    "4.7": """
combination        | Dice   | mIoU   | mAP    | mean recall
AttU-Net / CE      | 0.5600 | 0.2188 | 0.2746 | 0.2730
AttU-Net / Focal   | 0.3254 | 0.1324 | 0.2061 | 0.2387
AttU-Net / Dice    | 0.4340 | 0.2408 | 0.3495 | 0.3535
AttU-Net / Tversky | 0.3065 | 0.2004 | 0.2829 | 0.2877
AttU-Net / OB      | 0.2110 | 0.1729 | 0.2867 | 0.2408
U-Net / CE         | 0.5466 | 0.2237 | 0.2944 | 0.2728
U-Net / Focal      | 0.2475 | 0.1019 | 0.1933 | 0.2303
U-Net / Dice       | 0.3077 | 0.2390 | 0.3134 | 0.3769
U-Net / Tversky    | 0.3619 | 0.2296 | 0.3343 | 0.2881
U-Net / OB         | 0.1969 | 0.1433 | 0.1769 | 0.1732
""",
    "4.8": """
combination              | Dice   | mIoU   | mAP    | mean recall
DeepLab / Dice           | 0.6167 | 0.4002 | 0.6241 | 0.5765
AttU-Net / Dice          | 0.6045 | 0.4000 | 0.5447 | 0.6622
DeepLab / Focal          | 0.2823 | 0.1466 | 0.4364 | 0.2938
AttU-Net / Focal         | 0.2957 | 0.1988 | 0.5447 | 0.3579
DeepLab / Dice Focal     | 0.6148 | 0.3396 | 0.5908 | 0.6029
AttU-Net / Dice Focal    | 0.6115 | 0.4034 | 0.5505 | 0.6263
DeepLab / Dice OB        | 0.4591 | 0.2328 | 0.3603 | 0.5599
AttU-Net / Dice OB       | 0.4178 | 0.2222 | 0.2896 | 0.5252
DeepLab / Focal OB       | 0.4122 | 0.1929 | 0.2556 | 0.5431
AttU-Net / Focal OB      | 0.2154 | 0.1254 | 0.2575 | 0.2088
DeepLab / Dice Focal OB  | 0.4503 | 0.2221 | 0.3522 | 0.5433
AttU-Net / Dice Focal OB | 0.4258 | 0.2327 | 0.3509 | 0.3967
""",
    "4.9": """
combination           | neutrophil | epithelial | lymphocyte | plasma | eosinophil | connective | background
DeepLab / Dice        | 0          | 0.4429     | 0.2676     | 0      | 0          | 0.2858     | 0.8522
AttU-Net / Dice       | 0          | 0.3975     | 0.3731     | 0.     | 0          | 0.2325     | 0.8750
DeepLab / Focal       | 0.0131     | 0.2905     | 0.1047     | 0.0268 | 0.0057     | 0.0460     | 0.4319
AttU-Net / Focal      | 0.0071     | 0.2024     | 0.1506     | 0.0609 | 0.0207     | 0.1186     | 0.6167
DeepLab / Dice Focal  | 0          | 0.4290     | 0.2657     | 0      | 0          | 0.2671     | 0.8558
AttU-Net / Dice Focal | 0          | 0.3318     | 0.3793     | 0.0997 | 0          | 0.2483     | 0.8800
""",
    "4.10": """
combination           | Dice   | mIoU   | mAP    | mean recall
U-Net / Dice          | 0.3077 | 0.2390 | 0.3134 | 0.3769
AttU-Net / Dice       | 0.4340 | 0.2408 | 0.3495 | 0.3535
U-Net / Focal         | 0.2475 | 0.1019 | 0.1933 | 0.2303
AttU-Net / Focal      | 0.3254 | 0.1324 | 0.2061 | 0.2387
U-Net / Dice Focal    | 0.2991 | 0.2237 | 0.2967 | 0.2728
AttU-Net / Dice Focal | 0.2909 | 0.2250 | 0.2785 | 0.3725
""",
    "4.11": """
class      | scheme 4 | scheme 5 | scheme 6 | share (%)
neutrophil | 0.1746   | 0.2189   | 0.2240   | 0.126
epithelial | 0.1324   | 0.0389   | 0.0398   | 10.308
lymphocyte | 0.1666   | 0.1633   | 0.1671   | 1.855
plasma     | 0.1726   | 0.2037   | 0.2084   | 0.551
eosinophil | 0.1747   | 0.2198   | 0.2249   | 0.103
connective | 0.1611   | 0.1326   | 0.1357   | 3.081
background | 0.0179   | 0.0228   | 0        | 83.975
""",
    "4.12": """
scheme | mIoU   | mAP    | mean recall | mIoU   | mAP    | mean recall
1      | 0.2105 | 0.2534 | 0.2919      | 0.1903 | 0.2404 | 0.2441
2      | 0.1758 | 0.2959 | 0.3088      | 0.1308 | 0.1959 | 0.2350
3      | 0.1200 | 0.1429 | 0.1200      | 0.1643 | 0.2000 | 0.1643
5      | 0.2768 | 0.3611 | 0.3911      | 0.1917 | 0.2613 | 0.2608
6      | 0.0482 | 0.2561 | 0.0590      | 0.0358 | 0.1033 | 0.0622
""",
    "4.13": """
n     | mIoU   | mAP    | mean recall | mIoU   | mAP    | mean recall
512   | 0.1075 | 0.1607 | 0.1928      | 0.0907 | 0.1107 | 0.2387
1024  | 0.1358 | 0.1843 | 0.1916      | 0.1851 | 0.2758 | 0.2654
2048  | 0.1269 | 0.1591 | 0.1492      | 0.1573 | 0.1918 | 0.1681
4096  | 0.1739 | 0.2327 | 0.2680      | -      | -      | -
8192  | 0.1573 | 0.1972 | 0.2319      | 0.1202 | 0.1506 | 0.1644
16384 | 0.1199 | 0.1427 | 0.1324      | 0.1382 | 0.1707 | 0.1676
32768 | -      | -      | -           | 0.1148 | 0.1544 | 0.1988
65536 | -      | -      | -           | 0.1650 | 0.2003 | 0.1844
""",
    "4.14": """
class      | 512   | 1024  | 2048  | 4096  | 8192  | 16384
neutrophil | 9.915 | 6.051 | 3.497 | 1.930 | 0.983 | 0.492
epithelial | 16.67 | 14.41 | 18.87 | 25.99 | 35.08 | 31.38
lymphocyte | 20.18 | 19.57 | 26.71 | 10.92 | 7.389 | 5.890
plasma     | 13.22 | 13.43 | 14.34 | 7.690 | 4.431 | 2.215
eosinophil | 4.803 | 3.642 | 1.608 | 1.068 | 0.576 | 0.408
connective | 17.55 | 20.90 | 12.78 | 22.94 | 20.64 | 11.48
background | 17.66 | 22.00 | 22.19 | 29.46 | 30.90 | 48.14
""",
    "4.14 pixels": """
class      | 512    | 1024   | 2048    | 4096    | 8192    | 16384
neutrophil | 227574 | 277775 | 321107  | 354354  | 361171  | 361171
plasma     | 303458 | 616194 | 1316680 | 1412097 | 1627385 | 1627385
eosinophil | 110254 | 167178 | 147614  | 196056  | 211449  | 299932
""",
    "4.15": """
number | network    | Focal | Dice | OB
1      | AttU-Net   | -     | x    | -
2      | AttU-Net   | -     | x    | x
3      | AttU-Net   | x     | x    | -
4      | AttU-Net   | x     | x    | x
5      | DeepLabv3+ | -     | x    | -
6      | DeepLabv3+ | -     | x    | x
7      | DeepLabv3+ | x     | x    |
8      | DeepLabv3+ | x     | x    | x
""",
    "4.16": """
number | Dice   | mIoU   | mAP    | mean recall
1      | 0.5938 | 0.2663 | 0.3546 | 0.3659
2      | 0.4872 | 0.1619 | 0.2222 | 0.2250
3      | 0.6008 | 0.2656 | 0.3511 | 0.3710
4      | 0.5022 | 0.1802 | 0.2168 | 0.3335
5      | 0.6234 | 0.2686 | 0.3977 | 0.3114
6      | 0.4563 | 0.1373 | 0.1636 | 0.2250
7      | 0.6227 | 0.2703 | 0.4010 | 0.3093
8      | 0.4534 | 0.1342 | 0.1578 | 0.2202
""",
    "4.17": """
number | network  | Focal | Dice | OB
1      | AttU-Net | -     | x    | -
2      | AttU-Net | -     | x    | x
3      | U-Net    | -     | x    | -
4      | U-Net    | -     | x    | x
""",
    "4.18": """
number | Dice   | mIoU   | mAP    | mean recall
1      | 0.4340 | 0.2408 | 0.3495 | 0.3535
2      | 0.4773 | 0.1774 | 0.2238 | 0.2132
3      | 0.3077 | 0.2390 | 0.3134 | 0.3769
4      | 0.4602 | 0.1930 | 0.2619 | 0.3035
""",
    "4.19": """
data set | Dice   | mIoU   | mAP    | mean recall | background precision | background recall
CoNIC    | 0.6681 | 0.5206 | 0.8543 | 0.7756      | 0.8319               | 0.9849
MoNuSAC  | 0.6247 | 0.4721 | 0.7788 | 0.7959      | 0.8366               | 0.9552
""",
    "4.20": """
method            | Dice   | mIoU   | mAP    | mean recall
plain             | 0.6227 | 0.2703 | 0.4010 | 0.3093
background reused | 0.6509 | 0.300  | 0.3915 | 0.3611
""",
    "4.21": """
method            | Dice   | mIoU   | mAP    | mean recall
plain             | 0.4340 | 0.2408 | 0.3495 | 0.3535
background reused | 0.4655 | 0.2581 | 0.3716 | 0.3789
""",
}
"""Number → its lines, the head first."""


def printed(number: str) -> tuple[list[str], dict[str, list[str]]]:
    """The head of a table, without its first cell, and its lines by their first cells."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in PRINTED[number].strip().splitlines()]
    return head[1:], {name: cells for name, *cells in lines}


def turned(number: str) -> dict[str, dict[str, str]]:
    """A table by its columns: head → first cell of a line → cell."""
    head, lines = printed(number)
    return {column: {name: cells[place] for name, cells in lines.items()} for place, column in enumerate(head)}


def table(number: str) -> dict[str, Any]:
    """The experiment."""
    return read_json(EXPERIMENTS[number])
