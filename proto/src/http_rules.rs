//! HTTP bindings of methods: the paths of plain HTTP by which they are reached, as their `google.api.http` options say.

use std::borrow::Cow;

use crate::google::api::HttpRule;
use crate::google::api::http_rule::Pattern;
use crate::tables;

/// One HTTP method and path that lead to a gRPC method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpBinding {
    /// Full name of the service, for example `viam.component.motor.v1.MotorService`.
    pub service: Cow<'static, str>,
    /// Name of the method, for example `SetPower`.
    pub method: Cow<'static, str>,
    /// HTTP method, for example `PUT`.
    pub verb: Cow<'static, str>,
    /// Template of the path, for example `/viam/api/v1/component/motor/{name}/power`.
    pub path: Cow<'static, str>,
    /// Field of the request that the body is; `*` is the whole request, and empty is none.
    pub body: Cow<'static, str>,
    /// Field of the answer that is sent; empty is the whole answer.
    pub response_body: Cow<'static, str>,
}

impl HttpBinding {
    /// One that is known when this is built.
    pub(crate) const fn fixed(
        service: &'static str,
        method: &'static str,
        verb: &'static str,
        path: &'static str,
        body: &'static str,
        response_body: &'static str,
    ) -> Self {
        Self {
            service: Cow::Borrowed(service),
            method: Cow::Borrowed(method),
            verb: Cow::Borrowed(verb),
            path: Cow::Borrowed(path),
            body: Cow::Borrowed(body),
            response_body: Cow::Borrowed(response_body),
        }
    }

    /// All that the rule of a method says.
    pub(crate) fn of_rule(service: &str, method: &str, rule: &HttpRule) -> Vec<Self> {
        let rules = std::iter::once(rule).chain(&rule.additional_bindings);
        let bindings = rules.filter_map(|rule| {
            let (verb, path) = match rule.pattern.as_ref()? {
                Pattern::Get(path) => ("GET", path),
                Pattern::Put(path) => ("PUT", path),
                Pattern::Post(path) => ("POST", path),
                Pattern::Delete(path) => ("DELETE", path),
                Pattern::Patch(path) => ("PATCH", path),
                Pattern::Custom(custom) => (custom.kind.as_str(), &custom.path),
            };
            Some(Self {
                service: service.to_owned().into(),
                method: method.to_owned().into(),
                verb: verb.to_owned().into(),
                path: path.clone().into(),
                body: rule.body.clone().into(),
                response_body: rule.response_body.clone().into(),
            })
        });
        bindings.collect()
    }
}

/// The bindings of all services in our own files.
pub fn all() -> &'static [HttpBinding] {
    &tables::HTTP_BINDINGS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::api::CustomHttpPattern;
    use crate::methods;

    #[test]
    fn every_binding_is_of_a_method_that_is_known_and_no_path_leads_to_two() {
        let mut seen = std::collections::BTreeSet::new();
        for binding in all() {
            assert!(
                methods::find(&binding.service, &binding.method).is_some(),
                "{binding:?}"
            );
            assert!(seen.insert((&binding.verb, &binding.path)), "{binding:?}");
        }
        let motor = HttpBinding::fixed(
            "viam.component.motor.v1.MotorService",
            "SetPower",
            "PUT",
            "/viam/api/v1/component/motor/{name}/power",
            "",
            "",
        );
        assert!(all().contains(&motor));
        assert!(all().len() > 250, "{}", all().len());
    }

    #[test]
    fn a_rule_has_one_binding_for_each_path() {
        let rule = |pattern| HttpRule {
            pattern: Some(pattern),
            ..HttpRule::default()
        };
        let custom = Pattern::Custom(CustomHttpPattern {
            kind: "HEAD".into(),
            path: "/b".into(),
        });
        let whole = HttpRule {
            additional_bindings: vec![rule(custom), HttpRule::default()],
            ..rule(Pattern::Patch("/a".into()))
        };
        let expected = [
            HttpBinding::fixed("x.Y", "Z", "PATCH", "/a", "", ""),
            HttpBinding::fixed("x.Y", "Z", "HEAD", "/b", "", ""),
        ];
        assert_eq!(HttpBinding::of_rule("x.Y", "Z", &whole), expected);
    }
}
