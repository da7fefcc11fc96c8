//! `rdk:service:mlmodel`: machine-learning models, tensors in and tensors out.

use std::collections::BTreeMap;

use mainstay_proto::viam::service::mlmodel::v1;

pub use self::tensor::{Tensor, TensorData};
use crate::{
    Object, Resource, Result, api,
    wire::{Malformed, Message, Wire},
};

mod tensor;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Machine-learning model (`rdk:service:mlmodel`).
///
/// ```
/// use mainstay_module::{api::mlmodel::{Metadata, MlModel, Tensor, TensorInfo, Tensors}, prelude::*};
/// # struct Sum;
/// # impl Resource for Sum {}
///
/// #[async_trait]
/// impl MlModel for Sum {
///     async fn infer(&self, inputs: Tensors, extra: &Object) -> Result<Tensors> {
///         let terms = inputs.get("terms").and_then(|terms| terms.data.as_f32());
///         let terms = terms.ok_or_else(|| Error::invalid_argument("`terms` is a tensor of float32"))?;
///         Ok(Tensors::from([("sum".to_owned(), Tensor::new([1], vec![terms.iter().sum::<f32>()])?)]))
///     }
///     async fn metadata(&self, extra: &Object) -> Result<Metadata> {
///         let terms = TensorInfo { name: "terms".into(), data_type: "float32".into(), shape: vec![-1], ..TensorInfo::default() };
///         Ok(Metadata { name: "sum".into(), input_info: vec![terms], ..Metadata::default() })
///     }
/// }
/// ```
#[api("rdk:service:mlmodel", v1::MlModelService { GetStatus })]
pub trait MlModel: Resource {
    /// Runs the model. Peers may send no inputs at all.
    #[rpc(Infer { input_tensors: inputs } -> output_tensors)]
    async fn infer(&self, inputs: Tensors, extra: &Object) -> Result<Tensors>;

    /// Returns what the model takes and gives.
    #[rpc(Metadata -> metadata)]
    async fn metadata(&self, extra: &Object) -> Result<Metadata>;
}

/// What a machine-learning model takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Metadata, default)]
pub struct Metadata {
    /// Name of the model.
    pub name: String,
    /// Kind of model, such as `object_detector`.
    #[message(r#type)]
    pub kind: String,
    /// Description for people.
    pub description: String,
    /// Tensors that it takes, in order.
    pub input_info: Vec<TensorInfo>,
    /// Tensors that it gives, in order.
    pub output_info: Vec<TensorInfo>,
}

/// Description of a tensor.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::TensorInfo)]
pub struct TensorInfo {
    /// Name of the tensor.
    pub name: String,
    /// Description for people.
    pub description: String,
    /// Type of its values, such as `float32` or `uint8`.
    pub data_type: String,
    /// Length of each dimension; -1 if it is not known before the model runs.
    pub shape: Vec<i32>,
    /// Files that explain the values, such as labels.
    pub associated_files: Vec<AssociatedFile>,
    /// What else is known of it.
    pub extra: Object,
}

/// File that explains a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::File)]
pub struct AssociatedFile {
    /// Name of the file.
    pub name: String,
    /// Description for people.
    pub description: String,
    /// What its lines name.
    pub label_type: LabelType,
}

/// What the lines of a file of labels name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::LabelType, default)]
pub enum LabelType {
    /// Not said.
    #[default]
    Unspecified,
    /// Values of the tensor.
    TensorValue,
    /// Places along an axis.
    TensorAxis,
}

/// No tensors at all are as good as none of them.
impl Wire<Option<v1::FlatTensors>> for Tensors {
    fn into_wire(self) -> Option<v1::FlatTensors> {
        Some(v1::FlatTensors {
            tensors: self.into_wire(),
        })
    }

    fn from_wire(wire: Option<v1::FlatTensors>, _: &'static str) -> Result<Self, Malformed> {
        Wire::from_wire(wire.unwrap_or_default().tensors, "tensors")
    }
}
