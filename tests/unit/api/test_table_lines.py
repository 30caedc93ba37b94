"""One line of a CSV or libsvm file becomes a label and numbers, or says what is wrong with it."""

import pytest
from fovea_api.contract.table_lines import BadLine, BadTable, Columns, cells, csv_row, is_heading, libsvm_row

COLUMNS = Columns(("width", "kind", "length"), 1)

CSV_LINES = {
    "the label in the middle": ("1,rose,2.5", ("rose", [1.0, 2.5])),
    "spaces around": (" 1 , rose ,\t-2e3", ("rose", [1.0, -2000.0])),
    "a comma in quotes": ('1,"rose, red",0', ("rose, red", [1.0, 0.0])),
}


@pytest.mark.parametrize(("line", "row"), CSV_LINES.values(), ids=CSV_LINES.keys())
def test_a_line_of_csv(line, row):
    assert csv_row(line, COLUMNS) == row


BAD_CSV = {
    "too few columns": ("1,rose", "2 columns instead of 3"),
    "too many columns": ("1,rose,2,3", "4 columns instead of 3"),
    "a text": ("1,rose,long", 'column length is "long", which is no number'),
    "no text": ("1,rose, ", "column length is empty"),
    "not a number": ("nan,rose,2", 'column width is "nan", which is no number'),
    "an infinite number": ("1,rose,-inf", 'column length is "-inf", which is no number'),
    "more than float32 holds": ("1e39,rose,2", 'column width is "1e39", which is no number'),
    "a number as Python writes it": ("1_000,rose,2", 'column width is "1_000", which is no number'),
    "a cell of many letters": (f"{'9x' * 50},rose,2", f'column width is "{"9x" * 20}…", which is no number'),
    "a quote that does not end": ('1,"rose,2', "unexpected end of data"),
    "bytes that are not UTF-8": ("1,ros\ufffd,2", "it is not UTF-8: save the file as UTF-8"),
}


@pytest.mark.parametrize(("line", "problem"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_a_bad_line_of_csv(line, problem):
    with pytest.raises(BadLine) as bad:
        csv_row(line, COLUMNS)
    assert str(bad.value) == problem


LIBSVM_LINES = {
    "a8a": ("-1 3:1 11:1 ", ("-1", [3, 11], [1.0, 1.0])),
    "a sign": ("+1 1:0.5", ("1", [1], [0.5])),
    "a label with a point": ("1.0 7:-2e-1", ("1", [7], [-0.2])),
    "a label with a fraction": ("0.5 1:1", ("0.5", [1], [1.0])),
    "nothing but the label": ("2", ("2", [], [])),
    "an index of 0, and no order": ("0 5:1 0:2", ("0", [5, 0], [1.0, 2.0])),
}


@pytest.mark.parametrize(("line", "row"), LIBSVM_LINES.values(), ids=LIBSVM_LINES.keys())
def test_a_line_of_libsvm(line, row):
    assert libsvm_row(line) == row


BAD_LIBSVM = {
    "a text as label": ("spam 1:1", 'label is "spam", which is no number'),
    "two labels": ("1,2 1:1", 'label is "1,2", which is no number'),
    "a word without a value": ("1 3", '"3" is not index:value'),
    "a query of a ranking": ("1 qid:3 1:1", '"qid:3" is not index:value'),
    "a negative index": ("1 -3:1", '"-3:1" is not index:value'),
    "an empty value": ("1 3:", "index 3 is empty"),
    "a value that is none": ("1 3:x", 'index 3 is "x", which is no number'),
    "an index twice": ("1 3:1 5:1 3:2", "index 3 is there twice"),
    "an index beyond all bounds": ("1 99999999999:1", "index 99999999999 is above 2147483647"),
}


@pytest.mark.parametrize(("line", "problem"), BAD_LIBSVM.values(), ids=BAD_LIBSVM.keys())
def test_a_bad_line_of_libsvm(line, problem):
    with pytest.raises(BadLine) as bad:
        libsvm_row(line)
    assert str(bad.value) == problem


def test_a_heading_has_no_number():
    assert is_heading(cells("width,kind,length"))
    assert not is_heading(cells("1,rose,2"))
    assert not is_heading(cells("x,rose,2")), "a bad line is no heading"
    assert is_heading(cells("2020_01,2020_02,kind")), "only Python takes these for numbers"


@pytest.mark.parametrize(
    "line", ["0,1,target", "1,2,3,kind", "kind,0,1", ",0,1,kind", "0,1,2,3", "2019,2020,2021,kind"]
)
def test_a_first_line_that_counts_up_may_be_names_or_a_row(line):
    with pytest.raises(BadTable) as bad:
        is_heading(cells(line))
    assert str(bad.value) == (
        f'the first line "{line}" may be the names of the columns, as pandas writes them, or a row: say by --heading which'
    )


@pytest.mark.parametrize(
    "line", ["0,1", "1,kind", "1,kind,2", "5,6,kind", "1,0,1,kind", "0.5,1.5,2.5", "0,1.0,kind", "0,1,kind,x"]
)
def test_a_row_does_not_count_up(line):
    assert not is_heading(cells(line))


COLUMN_NAMES = {
    "the last by default": ("", True, ("a", "b", "c"), ("a", "b")),
    "by name": ("b", True, ("a", "b", "c"), ("a", "c")),
    "by number": ("1", True, ("a", "b", "c"), ("b", "c")),
    "without a heading": ("1", False, ("1", "2", "3"), ("2", "3")),
}


@pytest.mark.parametrize(("label", "heading", "names", "features"), COLUMN_NAMES.values(), ids=COLUMN_NAMES.keys())
def test_the_label_s_column_is_found(label, heading, names, features):
    columns = Columns.of(["a", " b", "c "], label, heading=heading)
    assert (columns.names, columns.features) == (names, features)


BAD_COLUMNS = {
    "an unknown one": (["a", "b"], "c", "there is no column c: --label-column is one of a, b, or a number"),
    "a single one": (["a"], "", "the first line has 1 column: a feature and a label are needed"),
    "two of one name": (["a", "a", "b"], "", 'two columns have the name "a"'),
    "one without a name": (
        ["", "a", "b"],
        "",
        "column 1 has no name: if it numbers the rows, leave it out (pandas: to_csv(index=False)), else give it a name",
    ),
    "semicolons": (
        ["a;b;c"],
        "",
        "the first line has 1 column: a feature and a label are needed; separate columns by commas, not by ;, and write "
        "decimals with a point",
    ),
    "tabs": (
        ["a\tb"],
        "",
        "the first line has 1 column: a feature and a label are needed; separate columns by commas, not by tabs, and write "
        "decimals with a point",
    ),
}


@pytest.mark.parametrize(("names", "label", "problem"), BAD_COLUMNS.values(), ids=BAD_COLUMNS.keys())
def test_columns_that_cannot_be(names, label, problem):
    with pytest.raises(BadTable) as bad:
        Columns.of(names, label, heading=True)
    assert str(bad.value) == problem
