//! The images of a store as people read them.

use crate::Image;

/// One line: an image under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Registry and repository; `<none>` without a name.
    pub image: String,
    /// Tag; `<none>` without one.
    pub tag: String,
    /// The first digits of the image's id.
    pub id: String,
    /// Unpacked size, as in `12.3MB`.
    pub size: String,
}

/// How many digits of an id are shown, as crictl does.
const DIGITS: usize = 13;
const NONE: &str = "<none>";

/// A line for each name of each image, in the order of names (`crictl images`).
pub fn rows(images: &[Image]) -> Vec<Row> {
    let mut rows: Vec<Row> = images.iter().flat_map(of).collect();
    rows.sort_by(|a, b| (&a.image, &a.tag, &a.id).cmp(&(&b.image, &b.tag, &b.id)));
    rows
}

fn of(image: &Image) -> Vec<Row> {
    let hex = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let row = |name: &str, tag: &str| Row {
        image: name.to_owned(),
        tag: tag.to_owned(),
        id: hex.chars().take(DIGITS).collect(),
        size: size(image.size),
    };
    if image.tags.is_empty() {
        let name = image.digests.first().and_then(|d| d.split_once('@')).map_or(NONE, |(name, _)| name);
        return vec![row(name, NONE)];
    }
    let tags = image.tags.iter().map(|t| t.rsplit_once(':').unwrap_or((t, NONE)));
    tags.map(|(name, tag)| row(name, tag)).collect()
}

/// Bytes in decimal units with three digits, as docker and crictl write sizes.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    let decimals = if unit == "B" || value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_name() {
        let image = |tags: &[&str], digests: &[&str], size| Image {
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            tags: tags.iter().map(ToString::to_string).collect(),
            digests: digests.iter().map(ToString::to_string).collect(),
            config: Default::default(),
            layers: vec![],
            size,
            pinned: false,
        };
        let images = [
            image(&["localhost:5000/a:v1", "docker.io/library/a:2"], &[], 12_345_678),
            image(&[], &["x.y/b@sha256:1"], 999),
            image(&[], &[], 1_200),
        ];
        let lines = rows(&images).into_iter().map(|r| format!("{} {} {} {}", r.image, r.tag, r.id, r.size));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "<none> <none> 0123456789abc 1.20kB",
                "docker.io/library/a 2 0123456789abc 12.3MB",
                "localhost:5000/a v1 0123456789abc 12.3MB",
                "x.y/b <none> 0123456789abc 999B",
            ]
        );
    }
}
