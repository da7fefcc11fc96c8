//! Elements and attributes of XML, with the line where they are.

use roxmltree::{Document, Node};

use super::KinematicsError;
use crate::spatial::Vector3;

/// Reader of a document, for the lines of its nodes.
pub(super) struct Xml<'a>(pub &'a Document<'a>);

impl Xml<'_> {
    pub(super) fn wrong(&self, node: Node<'_, '_>, cause: impl std::fmt::Display) -> KinematicsError {
        let line = self.0.text_pos_at(node.range().start).row;
        KinematicsError::at(format!("line {line}"), cause)
    }

    pub(super) fn attribute<'n>(&self, node: Node<'n, '_>, name: &str) -> Result<&'n str, KinematicsError> {
        node.attribute(name)
            .ok_or_else(|| self.wrong(node, format!("`{}` has no `{name}`", node.tag_name().name())))
    }

    pub(super) fn child<'n, 'i>(
        &self,
        node: Node<'n, 'i>,
        name: &'static str,
    ) -> Result<Node<'n, 'i>, KinematicsError> {
        children(node, name)
            .next()
            .ok_or_else(|| self.wrong(node, format!("`{}` has no `{name}`", node.tag_name().name())))
    }

    pub(super) fn number(&self, node: Node<'_, '_>, name: &str) -> Result<Option<f64>, KinematicsError> {
        node.attribute(name)
            .map(|text| self.parse(node, name, text))
            .transpose()
    }

    pub(super) fn parse(&self, node: Node<'_, '_>, name: &str, text: &str) -> Result<f64, KinematicsError> {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            self.wrong(node, format!("`{name}` has `{text}`, which is no number"))
        })
    }

    /// Returns three numbers; `None` without the attribute.
    pub(super) fn vector(&self, node: Node<'_, '_>, name: &str) -> Result<Option<Vector3>, KinematicsError> {
        let Some(text) = node.attribute(name) else {
            return Ok(None);
        };
        let words: Vec<_> = text.split_whitespace().take(4).collect();
        let [x, y, z] = words[..] else {
            return Err(self.wrong(node, format!("`{name}` does not have three numbers")));
        };
        Ok(Some(Vector3 {
            x: self.parse(node, name, x)?,
            y: self.parse(node, name, y)?,
            z: self.parse(node, name, z)?,
        }))
    }

    /// Returns a number that is not negative.
    pub(super) fn size(&self, element: Node<'_, '_>, name: &str) -> Result<f64, KinematicsError> {
        match self.number(element, name)? {
            Some(size) if size >= 0.0 => Ok(size),
            Some(_) => Err(self.wrong(element, format!("`{name}` is less than 0"))),
            None => Err(self.wrong(element, format!("`{}` has no `{name}`", element.tag_name().name()))),
        }
    }
}

/// Returns the child elements of this name.
pub(super) fn children<'n, 'i>(node: Node<'n, 'i>, name: &'static str) -> impl Iterator<Item = Node<'n, 'i>> {
    node.children().filter(move |child| child.has_tag_name(name))
}
