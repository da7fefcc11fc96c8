//! Templates of paths, as `google.api.http` writes them, matched against the path of a request. Pure.
//!
//! A template is segments between slashes: a text, `*` (one segment), `**` (all the rest), `{field}` or `{field=segments}`,
//! and perhaps `:verb` at its end.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode_str;

/// Path of a request, taken apart.
#[derive(Debug)]
pub struct RequestPath<'p> {
    /// Segments between the slashes, percent-decoded.
    segments: Vec<Cow<'p, str>>,
}

/// Match of a template.
#[derive(Debug, PartialEq, Eq)]
pub struct Match<'t> {
    /// Fields of the request and the texts that the path has for them.
    pub fields: Vec<(&'t str, String)>,
    /// Of two matches the greater one is the more specific: texts before `*`, `*` before `**`, from the left.
    pub rank: Vec<Part>,
}

/// Kind of one segment of a template, the least specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `**`.
    Rest,
    /// `*`, and what a field takes.
    One,
    /// A text.
    Text,
}

impl<'p> RequestPath<'p> {
    /// Takes the path of a request apart; `None` if a segment is no text once it is percent-decoded.
    pub fn read(path: &'p str) -> Option<Self> {
        let segments = path.strip_prefix('/')?.split('/');
        let decoded = segments.map(|segment| {
            let is_escaped = |at: usize| {
                let digits = segment.as_bytes().get(at + 1..at + 3);
                digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            };
            let mut escapes = segment.match_indices('%').map(|(at, _)| at);
            let decoded = percent_decode_str(segment).decode_utf8().ok();
            decoded.filter(|_| escapes.all(is_escaped))
        });
        Some(Self {
            segments: decoded.collect::<Option<_>>()?,
        })
    }

    /// Matches the path with a template; `None` if it does not fit, or if the template makes no sense.
    pub fn fits<'t>(&self, template: &'t str) -> Option<Match<'t>> {
        let (template, verb) = split_verb(template.strip_prefix('/')?);
        let mut path = Cursor {
            segments: &self.segments,
            verb,
            at: 0,
            rank: Vec::new(),
        };
        let mut fields = Vec::new();
        for piece in pieces(template) {
            match piece.strip_prefix('{') {
                None => drop(path.take(piece)?),
                Some(variable) => {
                    let (field, inner) = match variable.strip_suffix('}')?.split_once('=') {
                        Some(split) => split,
                        None => (variable.strip_suffix('}')?, "*"),
                    };
                    let first = path.at;
                    for piece in inner.split('/') {
                        path.take(piece)?;
                    }
                    fields.push((field, path.text(first..path.at)));
                }
            }
        }
        path.is_over().then_some(Match {
            fields,
            rank: path.rank,
        })
    }
}

/// The segments of a path, as a template takes them one after the other.
struct Cursor<'p> {
    segments: &'p [Cow<'p, str>],
    /// What the last segment must end with.
    verb: Option<&'p str>,
    at: usize,
    rank: Vec<Part>,
}

impl Cursor<'_> {
    /// The segment at a place, without the verb; `None` where there is none, or not the verb that must be there.
    fn segment(&self, at: usize) -> Option<&str> {
        let segment = self.segments.get(at)?;
        match self.verb {
            Some(verb) if at + 1 == self.segments.len() => segment.strip_suffix(verb)?.strip_suffix(':'),
            _ => Some(segment),
        }
    }

    /// Takes what one segment of the template stands for.
    fn take(&mut self, part: &str) -> Option<()> {
        let (part, length) = match part {
            "**" => (Part::Rest, self.segments.len() - self.at),
            "*" => (
                Part::One,
                usize::from(self.segment(self.at).is_some_and(|one| !one.is_empty())),
            ),
            text => (Part::Text, usize::from(self.segment(self.at) == Some(text))),
        };
        if length == 0 && part != Part::Rest {
            return None;
        }
        self.at += length;
        self.rank.push(part);
        Some(())
    }

    /// Text of segments that were taken.
    fn text(&self, range: Range<usize>) -> String {
        let segments: Vec<_> = range.filter_map(|at| self.segment(at)).collect();
        segments.join("/")
    }

    fn is_over(&self) -> bool {
        self.at == self.segments.len() && (self.verb.is_none() || self.segment(self.at - 1).is_some())
    }
}

/// A template without its verb, and the verb.
fn split_verb(template: &str) -> (&str, Option<&str>) {
    let last = template.rfind(['}', '/']).unwrap_or(0);
    match template[last..].split_once(':') {
        Some((before, verb)) => (&template[..last + before.len()], Some(verb)),
        None => (template, None),
    }
}

/// Segments of a template; a variable is one of them, whatever it stands for.
fn pieces(template: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    template.split(move |letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == '/' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(template: &str, path: &str) -> Option<Vec<String>> {
        let path = RequestPath::read(path)?;
        let found = path.fits(template)?;
        let pairs = found.fields.iter();
        Some(pairs.map(|(field, text)| format!("{field}={text}")).collect())
    }

    #[test]
    fn a_path_fits_or_does_not() {
        let power = "/api/v1/component/motor/{name}/power";
        for (template, path, expected) in [
            (power, "/api/v1/component/motor/left/power", Some(&["name=left"][..])),
            (
                power,
                "/api/v1/component/motor/far:left/power",
                Some(&["name=far:left"]),
            ),
            (
                power,
                "/api/v1/component/motor/a%20b%2Fc%C3%A4/power",
                Some(&["name=a b/cä"]),
            ),
            (power, "/api/v1/component/motor/a+b/power", Some(&["name=a+b"])),
            (power, "/api/v1/component/%6Dotor/left/power", Some(&["name=left"])),
            (power, "/api/v1/component/motor//power", None),
            (power, "/api/v1/component/motor/left/power/", None),
            (power, "/api/v1/component/motor/left/powers", None),
            (power, "/api/v1/component/motor/left", None),
            (power, "/api/v1/component/motor/le/ft/power", None),
            (power, "/api/v1/component/motor/%FF/power", None),
            (power, "/api/v1/component/motor/%2/power", None),
            (power, "/api/v1/component/motor/%zz/power", None),
            (power, "api", None),
            ("/a/{b.c}/{d}", "/a/1/2", Some(&["b.c=1", "d=2"])),
            ("/a/*/{d}", "/a/1/2", Some(&["d=2"])),
            ("/a/{n=**}", "/a/1/2/3", Some(&["n=1/2/3"])),
            ("/a/{n=**}", "/a", Some(&["n="])),
            ("/a/**", "/a/1/2", Some(&[])),
            (
                "/a/{n=shelves/*/books/*}",
                "/a/shelves/1/books/2",
                Some(&["n=shelves/1/books/2"]),
            ),
            ("/a/{n=shelves/*/books/*}", "/a/shelves/1/book/2", None),
            ("/a/{n}:stop", "/a/far:left:stop", Some(&["n=far:left"])),
            ("/a/{n}:stop", "/a/left", None),
            ("/a/{n}:stop", "/a/:stop", None),
            ("/a/b:stop", "/a/b:stop", Some(&[])),
            ("/a/b:stop", "/a/b", None),
            ("/a/{n=**}:stop", "/a/b/c:stop", Some(&["n=b/c"])),
            ("/a/{n=**}:stop", "/a/b/c", None),
            ("/a/{n=x/*}:stop", "/a/x/c:stop", Some(&["n=x/c"])),
            ("/:stop", "/:stop", Some(&[])),
            ("/a/{n", "/a/b", None),
            ("", "/", None),
        ] {
            let expected = expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(fields(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn a_text_is_more_specific_than_a_field_and_that_than_all_the_rest() {
        let path = RequestPath::read("/a/b/c").expect("a path");
        let rank = |template| path.fits(template).expect("it fits").rank;
        let ranks = ["/**", "/{x=**}", "/{x}/b/c", "/a/**", "/a/*/c", "/a/b/*", "/a/b/c"].map(rank);
        assert_eq!(ranks[0], ranks[1]);
        assert!(ranks[1..].is_sorted_by(|a, b| a < b), "{ranks:?}");
    }
}
