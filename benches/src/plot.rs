//! Times by percentile as a picture: SVG, made of a few lines of text.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Of the picture, in pixels, and of the room around the lines.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Percentiles to 99.99: so many nines.
const NINES: f64 = 4.0;
const COLOURS: [&str; 6] = ["#1b7837", "#2166ac", "#e08214", "#b2182b", "#762a83", "#555555"];

/// A line with its name.
#[derive(Debug)]
pub struct Line<'a> {
    /// What stands beside it.
    pub name: String,
    /// The times, in microseconds.
    pub micros: &'a Histogram<u64>,
}

/// Draws the lines under a title: percentiles to the right, by their nines, and milliseconds upward, by their powers of ten.
#[must_use]
pub fn percentiles(title: &str, lines: &[Line<'_>]) -> String {
    let at = |line: &Line<'_>, nines: f64| {
        let percentile = 100.0 * (1.0 - 10_f64.powf(-nines));
        line.micros.value_at_percentile(percentile).max(1) as f64 / 1e3
    };
    let all = lines.iter().flat_map(|line| [at(line, 0.0), at(line, NINES)]);
    let (least, most) =
        all.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    let (bottom, top) =
        (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |nines: f64| LEFT + (WIDTH - LEFT - RIGHT) * nines / NINES;
    let y = |ms: f64| {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (ms.log10() - bottom) / (top - bottom)
    };

    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="28" font-size="16">{}</text>"#,
        escaped(title)
    );
    for (nines, name) in [(0.0, "0"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99")] {
        let at = x(nines);
        let _ = writeln!(
            svg,
            r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{:.1}" stroke="#ddd"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{name}</text>"##,
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 20.0
        );
    }
    for power in bottom as i32..=top as i32 {
        let ms = 10_f64.powi(power);
        let at = y(ms);
        let _ = writeln!(
            svg,
            r##"<line x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{ms}</text>"##,
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">percentile</text><text x="18" y="{TOP}" dy="-8">ms</text>"#,
        f64::midpoint(x(0.0), x(NINES)),
        HEIGHT - 16.0
    );
    let mut names: Vec<(usize, f64)> =
        lines.iter().map(|line| y(at(line, NINES)) + 4.0).enumerate().collect();
    // From the bottom up, none upon the one below.
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    for index in 1..names.len() {
        names[index].1 = names[index].1.min(names[index - 1].1 - 16.0);
    }
    names.sort_by_key(|(index, _)| *index);
    for ((line, colour), (_, name_at)) in lines.iter().zip(COLOURS.iter().cycle()).zip(names) {
        let steps = (0..=200).map(|step| NINES * f64::from(step) / 200.0);
        let points: Vec<String> =
            steps.map(|nines| format!("{:.1},{:.1}", x(nines), y(at(line, nines)))).collect();
        let _ = writeln!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points="{}"/>
<text x="{:.1}" y="{name_at:.1}" fill="{colour}">{}</text>"#,
            points.join(" "),
            WIDTH - RIGHT + 8.0,
            escaped(&line.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_lines_stand_higher() {
        let of = |micros: u64| {
            let mut histogram = Histogram::new(3).expect("three digits are few enough");
            histogram.record(micros).expect("it grows");
            histogram
        };
        let (fast, slow) = (of(1_000), of(100_000));
        let lines = [("fast", &fast), ("slow & <late>", &slow)]
            .map(|(name, micros)| Line { name: name.to_owned(), micros });
        let svg = percentiles("a title", &lines);
        let ends: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<polyline"))
            .map(|line| {
                let last = line.rsplit(',').next().and_then(|end| end.split('"').next());
                last.and_then(|end| end.parse().ok()).expect("a line ends in a point")
            })
            .collect();
        // Upward is less in SVG.
        assert!(ends.len() == 2 && ends[1] < ends[0], "{ends:?}");
        assert!(svg.contains("slow &amp; &lt;late&gt;"), "{svg}");
    }
}
