//! The page at `/`: one file, and the headers that keep it from doing anything but ask `/status`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS,
};

pub(super) const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const PAGE: &str = include_str!("page.html");
/// Where the page has this, it gets the nonce of its answer.
const PLACE: &str = "{{nonce}}";

/// The page and its headers. The nonce, 128 random bits, is another one each time: only the style and the
/// script that are part of the page carry it (Content Security Policy Level 3, section 2.3.1).
pub(super) fn page() -> (String, HeaderMap) {
    let nonce = STANDARD.encode(rand::random::<[u8; 16]>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
    );
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    (PAGE.replace(PLACE, &nonce), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_style_carry_the_nonce_of_this_answer_alone() {
        let (text, headers) = page();
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0;
        assert_eq!(STANDARD.decode(nonce).unwrap().len(), 16);
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert!(!text.contains(PLACE) && !policy.contains("unsafe"), "{policy}");
        let other = page().1;
        assert_ne!(headers[CONTENT_SECURITY_POLICY], other[CONTENT_SECURITY_POLICY]);
    }

    #[test]
    fn the_page_names_nothing_outside_and_makes_text_of_data() {
        // The name of SVG is the only address in it.
        assert_eq!(PAGE.matches("://").count(), 1);
        for word in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "style=", "onclick"]
        {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
