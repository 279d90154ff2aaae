from __future__ import annotations

import pandas as pd
import pytest

from tinylesions.handlers import write_class_weights


def test_table(tmp_path, capsys):
    path = tmp_path / "run" / "class_weights.csv"
    table = write_class_weights(["background", "nucleus"], [0.75, 0.25], {2: [0.25, 0.75], 6: [0, 1]}, path)
    read = pd.read_csv(path, index_col="score")
    pd.testing.assert_frame_equal(read, table)
    assert read.columns.tolist() == ["background", "nucleus"]
    assert read["nucleus"].to_dict() == pytest.approx({"frequency": 0.25, "scheme 2": 0.75, "scheme 6": 1})
    printed = capsys.readouterr().out
    assert "scheme 6       0.0000   1.0000" in printed
    assert f"saved as {path}" in printed
