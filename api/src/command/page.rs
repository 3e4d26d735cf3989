//! Lists, a page at a time.

use clap::ValueEnum;
use serde_json::Value;

use super::client::Query;

/// Which page of a list.
#[derive(Debug, clap::Args)]
pub(super) struct PageArgs {
    /// How many at most, from 1 to 1000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
    /// Newest first, or oldest first
    #[arg(long, value_enum, default_value_t = Order::Desc)]
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Desc,
    Asc,
}

impl PageArgs {
    /// Adds what says which page.
    pub(super) fn query(&self, query: Query) -> Query {
        let order = (self.order == Order::Asc).then_some("asc");
        query.with("limit", self.limit).with("cursor", self.cursor.as_ref()).with("order", order)
    }
}

/// The things on a page.
pub(super) fn data(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

/// What to say below a page's table: that it is empty, or how to see the next.
pub(super) fn footer(page: &Value, things: &str) -> String {
    match page["next_cursor"].as_str() {
        Some(cursor) => format!("\n\nmore with --cursor {cursor}"),
        None if data(page).is_empty() => format!("\n\nno {things}"),
        None => String::new(),
    }
}

/// A field as people read it: text without quotes, lists with commas, nothing for what is not there.
pub(super) fn field(thing: &Value, name: &str) -> String {
    match &thing[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            items.collect::<Vec<_>>().join(",")
        }
        Value::Object(object) if object.is_empty() => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_shown_without_json_around_them() {
        let thing = json!({"id":"7","flags":["linked","history"],"code":1,"metadata":{},"x":{"a":1},"n":null});
        let shown =
            ["id", "flags", "code", "metadata", "x", "n", "absent"].map(|name| field(&thing, name));
        assert_eq!(shown, ["7", "linked,history", "1", "", "{\"a\":1}", "", ""]);
    }

    #[test]
    fn a_page_says_how_to_see_the_next() {
        let page = json!({"data":[1],"has_more":true,"next_cursor":"abc"});
        assert_eq!(footer(&page, "accounts"), "\n\nmore with --cursor abc");
        assert_eq!(footer(&json!({"data":[1],"next_cursor":null}), "accounts"), "");
        assert_eq!(footer(&json!({"data":[]}), "accounts"), "\n\nno accounts");
    }
}
