//! Which objects a list or a watch is about: decided by an entry's header, without parsing the object.

use crate::catalog::Served;
use crate::query::ListOptions;
use meta::Status;
use meta::selector::{FieldSelector, Selector};
use store::Entry;

/// Kinds with fields of their own are asked by functions of their own, the others by one that lists what there is.
fn unknown(served: &Served, label: &str) -> String {
    match served.custom.is_none() && served.kind.fields.is_empty() {
        true => {
            format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        false => format!("field label not supported: {label}"),
    }
}

/// Label and field selectors of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    labels: Selector,
    fields: FieldSelector,
}

impl Filter {
    /// Parses both selectors; a field that the kind doesn't know is an error.
    pub(crate) fn parse(served: &Served, options: &ListOptions) -> Result<Self, Status> {
        Self::from_texts(served, &options.label_selector, &options.field_selector)
    }

    /// Parses both selectors.
    pub(crate) fn from_texts(served: &Served, labels: &str, fields: &str) -> Result<Self, Status> {
        let bad = |e: meta::selector::SelectorError| Status::bad_request(e.to_string());
        let labels = Selector::parse(labels).map_err(bad)?;
        let mut fields = FieldSelector::parse(fields).map_err(bad)?;
        for term in &mut fields.terms {
            let column = served.kind.column(&term.field).map(str::to_owned);
            term.field = column.ok_or_else(|| Status::bad_request(unknown(served, &term.field)))?;
        }
        Ok(Self { labels, fields })
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `entry` matches.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let header = &entry.header;
        (self.labels.is_empty() || self.labels.matches_with(|k| header.label(k)))
            && (self.fields.is_empty() || self.fields.matches(|f| header.field(f).unwrap_or_default()))
    }

    /// The only value of `field` that can match, if the selector says so.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        self.fields.exact(field)
    }
}
