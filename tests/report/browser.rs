//! The page in a real browser, where one is installed: Debian's `chromium`.

use crate::runs::table_2;
use crate::{page, place};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Loads a page with these flags and returns the page as it is then, and what the browser said.
fn browse(page: &Path, flags: &[&str]) -> Option<(String, String)> {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(flags)
        .args(["--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no `chromium` on PATH");
            return None;
        }
        output => output.unwrap(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some((text(&output.stdout), text(&output.stderr)))
}

/// What a script at the end of the page measures, and leaves in the title.
const PROBE: &str = r#"<script>
addEventListener("error", event => { document.title = "error " + event.message; });
addEventListener("load", () => {
  const wide = [...document.body.querySelectorAll("*")].filter(e => !e.closest(".wide,figure,nav,pre,details:not([open])")
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className);
  const plot = document.querySelector("svg.plot"), words = () => plot.closest("svg.chart").querySelector("g.tx").textContent, box = plot.getBoundingClientRect();
  const send = (kind, x, y) => plot.dispatchEvent(new PointerEvent(kind, { clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerId: 1, bubbles: true }));
  plot.setPointerCapture = () => {};
  const before = plot.getAttribute("viewBox"), ticks = words();
  send("pointerdown", 0.25, 0.1); send("pointermove", 0.5, 0.6); send("pointerup", 0.5, 0.6);
  const zoomed = plot.getAttribute("viewBox") !== before && words() !== ticks;
  plot.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  const back = plot.getAttribute("viewBox") === before && words() === ticks;
  document.title = JSON.stringify({ inner: innerWidth, scroll: document.documentElement.scrollWidth, wide, zoomed, back,
    requests: performance.getEntriesByType("resource").map(r => r.name).filter(name => !name.startsWith("data:")) });
});
</script>"#;

#[test]
fn a_phone_a_desk_and_no_script() {
    let place = place("browser");
    table_2().iter().for_each(|run| drop(run.write(&place)));
    let html = page(&[&place], &place.join("report.html"));
    let probed = place.join("probed.html");
    fs::write(&probed, html.replace("</body>", &format!("{PROBE}</body>"))).unwrap();

    // A window cannot be made narrower than 500 pixels; a frame can.
    let phone = place.join("phone.html");
    let frame = "<!DOCTYPE html><body style='margin:0'><iframe src='probed.html' style='width:360px;height:800px;border:0'></iframe>\
        <script>addEventListener('load',()=>{setTimeout(()=>{document.title='phone '+frames[0].document.title},500)})</script>";
    fs::write(&phone, frame).unwrap();

    let Some((dom, log)) = browse(&probed, &["--window-size=1280,900"]) else { return };
    let said = |dom: &str| dom.split("<title>").nth(1).unwrap().split("</title>").next().unwrap().to_string();
    for (dom, width) in
        [(dom, 1280), (browse(&phone, &["--window-size=800,900", "--allow-file-access-from-files"]).unwrap().0, 360)]
    {
        let title = said(&dom);
        let found: serde_json::Value = serde_json::from_str(title.trim_start_matches("phone "))
            .unwrap_or_else(|_| panic!("the page said `{title}`"));
        assert_eq!(found["inner"], width, "{title}");
        assert!(found["scroll"].as_u64().unwrap() <= width, "{title}");
        assert_eq!(found["wide"], serde_json::json!([]), "{title}");
        assert_eq!(found["requests"], serde_json::json!([]), "{title}");
        assert!(found["zoomed"] == true && found["back"] == true, "{title}");
    }
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    // Without JavaScript everything is there but the hint to zoom.
    let plain = place.join("plain.html");
    fs::write(&plain, html.replace("script-src 'unsafe-inline'", "script-src 'none'")).unwrap();
    let (dom, _) = browse(&plain, &["--window-size=1280,900"]).unwrap();
    for section in ["accuracy", "paper", "tradeoff", "training", "strength", "classes", "trust", "configs", "origin"] {
        assert!(dom.contains(&format!("<section id=\"{section}\">")), "{section}");
    }
    assert!(dom.matches("<svg class=\"chart\"").count() >= 8 && !dom.contains("chart can-zoom"));
}
