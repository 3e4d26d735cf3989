//! What people read on the standard output.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

use super::CommandError;

/// Columns two spaces apart and a line under the header: plain enough to be cut by other tools.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Where the figures of a column stand.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

/// Writes the text and a line end to the standard output, and waits until it is out.
///
/// # Errors
/// The output can not be written. That nobody reads it any more is told apart in [`super::main`].
pub(super) fn out(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.trim_end_matches('\n').as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .map_err(CommandError::Output)
}

/// A table with a header.
pub(super) fn table<const N: usize>(
    columns: [(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(columns.map(|(name, _)| name));
    table.add_rows(rows);
    finish(table, &columns.map(|(_, align)| align))
}

/// A table of two columns without a header: names and what they stand for.
pub(super) fn pairs<'a>(
    rows: impl IntoIterator<Item = (&'a str, String)>,
    values: Align,
) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.add_rows(rows.into_iter().map(|(name, value)| [name.to_owned(), value]));
    finish(table, &[Align::Left, values])
}

fn finish(mut table: Table, aligns: &[Align]) -> String {
    // The line style leaves one space between columns; one of padding makes two.
    for (column, align) in table.column_iter_mut().zip(aligns) {
        column.set_padding((0, 1));
        if matches!(align, Align::Right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain() {
        let rows = [["alice".into(), "1.00".into()], ["b".into(), "100.00".into()]];
        let shown = table([("name", Align::Left), ("balance", Align::Right)], rows);
        let expected = ["name   balance", "───────────────", "alice     1.00", "b       100.00"];
        assert_eq!(shown, expected.join("\n"));
        let shown = pairs([("name", "alice".into()), ("balance", "1.00".into())], Align::Left);
        assert_eq!(shown, "name     alice\nbalance  1.00");
    }
}
