"""Rows of text below each other: how detections, scores and statistics are printed.

It stands here because detections are the first thing that is printed so: what every later package
shares has its place in the first one that needs it.
"""


def table(rows, columns=("<", ">"), gap="  "):
    """Lays out text in columns as wide as the longest cell.

    Example:

    >>> print(table([("class", "truth"), ("run", "12"), ("long jump", "3")]))
    class      truth
    run           12
    long jump      3

    Args:
      rows: sequence of rows, sequences of equally many str.
      columns: sequence of str, one a column: `"<"` to the left or `">"` to the right, and perhaps
        the least width, as in `">7"`. The last one stands for all columns that follow.
      gap: str, between two columns.

    Returns:
      str, a line a row. Nothing fills up a last column to the left.
    """
    columns = [*columns, *columns[-1:] * (len(rows[0]) - len(columns))]
    forms = []
    for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
        side, least = column[0], int(column[1:] or 0)
        forms.append(f"{side}{max(least, *map(len, cells))}")
    if columns[-1].startswith("<"):
        forms[-1] = ""
    return "\n".join(gap.join(map(format, row, forms)) for row in rows)
