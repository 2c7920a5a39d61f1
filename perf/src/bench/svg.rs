//! Plots as SVG text: axes with round numbers, lines, bars. Colours are classes, so that the page decides them.

use std::fmt::Write;

/// Size of a plot, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero, in equal steps.
    Linear,
    /// By powers of ten.
    Log,
    /// Percentiles by what is above them: 90, 99 and 99.9 are equally far from each other.
    Tail,
}

/// One axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) format: fn(f64) -> String,
}

impl Axis {
    /// An axis that holds all values: from zero up if it is linear.
    pub(super) fn around(
        title: &'static str,
        scale: Scale,
        values: impl Iterator<Item = f64>,
        format: fn(f64) -> String,
    ) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (scale != Scale::Log || *value > 0.0)) {
            low = low.min(value);
            high = high.max(value);
        }
        if !low.is_finite() {
            (low, high) = (1.0, 10.0);
        }
        match scale {
            Scale::Linear => (low, high) = (0.0, if high > 0.0 { high * 1.08 } else { 1.0 }),
            Scale::Log => {
                low = lower_step(low);
                high = upper_step(high).max(low * 2.0);
            }
            Scale::Tail => (low, high) = (0.0, 99.99),
        }
        Self { title, scale, low, high, format }
    }

    /// From 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let place = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(self.low).log10(),
            Scale::Tail => -(1.0 - value.clamp(0.0, 99.99) / 100.0).log10(),
        };
        ((place(value) - place(self.low)) / (place(self.high) - place(self.low))).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Tail => vec![0.0, 50.0, 90.0, 99.0, 99.9, 99.99],
            Scale::Linear => {
                let step = upper_step((self.high - self.low) / 6.0);
                let count = ((self.high - self.low) / step).floor();
                (0..=20).map(f64::from).take_while(|n| *n <= count).map(|n| self.low + n * step).collect()
            }
            Scale::Log => {
                let mut ticks = Vec::new();
                let mut at = self.low;
                // 1, 2, 5, 10 …; only powers of ten if that is too many.
                let dense = (self.high / self.low).log10() <= 2.2;
                while at <= self.high * 1.000_1 && ticks.len() < 24 {
                    ticks.push(at);
                    at = if dense { upper_step(at * 1.5) } else { at * 10.0 };
                }
                ticks
            }
        }
    }
}

/// The next of 1, 2, 5, 10 … that is not smaller.
fn upper_step(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value * 0.999_99).unwrap_or(value)
}

/// The next of 1, 2, 5, 10 … that is not larger.
fn lower_step(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|step| step * power).find(|step| *step <= value * 1.000_01).unwrap_or(value)
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    /// Number of its colour.
    pub(super) colour: usize,
    pub(super) dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot of lines. The title is what a reader who cannot see it hears.
pub(super) fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut out = frame(title, x, y);
    for line in lines {
        let points: Vec<String> =
            line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", at_x(x, *px), at_y(y, *py))).collect();
        let dash = if line.dashed { " dash" } else { "" };
        let _ = write!(
            out,
            "<polyline class=\"line c{}{dash}\" points=\"{}\"><title>{}</title></polyline>",
            line.colour,
            points.join(" "),
            escape(&line.name)
        );
        if line.points.len() <= 24 {
            for (px, py) in &line.points {
                let _ = write!(
                    out,
                    "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{}: {} at {}</title></circle>",
                    line.colour,
                    at_x(x, *px),
                    at_y(y, *py),
                    escape(&line.name),
                    (y.format)(*py),
                    (x.format)(*px)
                );
            }
        }
    }
    out.push_str("</svg>");
    out
}

/// Bars from `low` to `high` of the x axis, each of a height.
pub(super) fn bars(title: &str, x: &Axis, y: &Axis, colour: usize, bars: &[(f64, f64, f64)]) -> String {
    let mut out = frame(title, x, y);
    for (low, high, value) in bars {
        let (from, to) = (at_x(x, *low), at_x(x, *high));
        let top = at_y(y, *value);
        let _ = write!(
            out,
            "<rect class=\"bar c{colour}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{} .. {}: {value}</title></rect>",
            (to - from - 1.0).max(1.0),
            (HEIGHT - BOTTOM - top).max(0.5),
            (x.format)(*low),
            (x.format)(*high)
        );
    }
    out.push_str("</svg>");
    out
}

fn at_x(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)
}

fn at_y(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)
}

fn frame(title: &str, x: &Axis, y: &Axis) -> String {
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(title));
    let bottom = HEIGHT - BOTTOM;
    for tick in y.ticks() {
        let at = at_y(y, tick);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            (y.format)(tick)
        );
    }
    for tick in x.ticks() {
        let at = at_x(x, tick);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            (x.format)(tick)
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{}\" y2=\"{bottom}\"/>\
         <text class=\"title\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text class=\"title\" transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        WIDTH - RIGHT,
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        HEIGHT - 8.0,
        x.title,
        TOP + (bottom - TOP) / 2.0,
        y.title
    );
    out
}

/// Text that stands in HTML, in an attribute too.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        format!("{value}")
    }

    #[test]
    fn axes_have_round_numbers_and_hold_all_values() {
        let linear = Axis::around("", Scale::Linear, [3.0, 47.0].into_iter(), plain);
        assert_eq!(linear.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let log = Axis::around("", Scale::Log, [3.0, 470.0].into_iter(), plain);
        assert_eq!((log.low, log.high), (2.0, 500.0));
        for axis in [&linear, &log] {
            assert!(axis.share(3.0) >= 0.0 && axis.share(47.0) > axis.share(3.0));
        }
        let tail = Axis::around("", Scale::Tail, std::iter::empty(), plain);
        assert!((tail.share(90.0) * 2.0 - tail.share(99.0)).abs() < 1e-9);
    }

    #[test]
    fn any_values_give_a_plot() {
        for values in [vec![], vec![0.0], vec![f64::NAN, -1.0], vec![1e-9, 1e12], vec![5.0; 3]] {
            for scale in [Scale::Linear, Scale::Log, Scale::Tail] {
                let axis = Axis::around("t", scale, values.iter().copied(), plain);
                let points = values.iter().map(|value| (*value, *value)).collect();
                let line = Line { name: "<&>".into(), colour: 0, dashed: false, points };
                let text = lines("t", &axis, &axis, &[line]);
                assert!(text.ends_with("</svg>") && !text.contains("<&>") && !text.contains("inf"), "{text}");
            }
        }
    }
}
