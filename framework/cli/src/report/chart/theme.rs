//! Colours: names in a page, where CSS gives them their light or dark value, and numbers in a file.

/// Name, value on white, value on black. The first eight are the series, after Okabe and Ito's
/// palette, darkened (on white) or lightened (on black) until text in them can be read.
const COLOURS: [(&str, &str, &str); 14] = [
    ("s0", "#0a66a8", "#62b6f0"),
    ("s1", "#c14a09", "#f4935a"),
    ("s2", "#007a5a", "#41cfa2"),
    ("s3", "#a2458c", "#e595cd"),
    ("s4", "#7d6200", "#e2c14d"),
    ("s5", "#2b7f93", "#7fd6e6"),
    ("s6", "#5c5c66", "#b9bac4"),
    ("s7", "#b01a48", "#ff8aa3"),
    ("ink", "#1c1e23", "#e9eaee"),
    ("soft", "#5f636d", "#a3a7b3"),
    ("line", "#dfe1e6", "#33363f"),
    ("page", "#ffffff", "#14161a"),
    ("good", "#007a5a", "#41cfa2"),
    ("bad", "#b3261e", "#ff8a80"),
];

/// The number of colours for series; after that they repeat, and lines are dashed.
pub(super) const SERIES: usize = 8;

/// The colour of the `n`th series, as an SVG or CSS value.
pub fn series(n: usize) -> String {
    format!("var(--s{})", n % SERIES)
}

/// The colours' declarations, light ones first, then the dark ones for readers who prefer them and
/// are not printing.
pub fn css() -> String {
    let declare = |pick: fn(&(&str, &'static str, &'static str)) -> &'static str| -> String {
        COLOURS.iter().map(|colour| format!("--{}:{};", colour.0, pick(colour))).collect()
    };
    let (light, dark) = (declare(|c| c.1), declare(|c| c.2));
    format!(":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n")
}

/// The light values in place of the names. Only whole attributes are replaced: in text a quote is
/// escaped.
pub(super) fn resolved(svg: &str) -> String {
    COLOURS.iter().fold(svg.to_string(), |svg, (name, light, _)| {
        svg.replace(&format!("\"var(--{name})\""), &format!("\"{light}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance and contrast as WCAG 2 defines them.
    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn every_colour_can_be_read() {
        let page = COLOURS.iter().find(|colour| colour.0 == "page").unwrap();
        for colour in COLOURS.iter().filter(|colour| !["line", "page"].contains(&colour.0)) {
            assert!(contrast(colour.1, page.1) >= 4.5, "{} on white: {:.2}", colour.0, contrast(colour.1, page.1));
            assert!(contrast(colour.2, page.2) >= 4.5, "{} on black: {:.2}", colour.0, contrast(colour.2, page.2));
        }
    }

    #[test]
    fn files_have_numbers_for_colours() {
        assert_eq!(resolved("<a fill=\"var(--s0)\">var(--s0)</a>"), "<a fill=\"#0a66a8\">var(--s0)</a>");
        assert_eq!(series(8), series(0));
    }
}
