//! Tensors: a shape, and values of one of ten types.

use bytes::Bytes;
use mainstay_proto::viam::service::mlmodel::v1::{self, flat_tensor::Tensor as Flat};

use crate::{
    Error, Result,
    wire::{Malformed, Wire},
};

/// Tensor: values of one type, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Length of each dimension. No dimension at all is a single value.
    pub shape: Vec<u64>,
    /// The values, as many as the product of the lengths.
    pub data: TensorData,
}

/// Values of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the types name themselves")]
pub enum TensorData {
    I8(Vec<i8>),
    /// Not copied on their way, as pictures mostly are these.
    U8(Bytes),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Tensor {
    /// Creates a tensor. The values are a `Vec` of any of the ten types, or `Bytes`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if there are not as many values as the shape says.
    pub fn new(shape: impl Into<Vec<u64>>, data: impl Into<TensorData>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        match size(&shape) {
            Some(size) if size == data.len() => Ok(Self { shape, data }),
            _ => Err(Error::invalid_argument(format_args!(
                "a tensor of shape {shape:?} cannot have {} values",
                data.len()
            ))),
        }
    }
}

/// Product of the lengths; `None` if no memory holds so much.
fn size(shape: &[u64]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |size, length| size.checked_mul(usize::try_from(*length).ok()?))
}

macro_rules! kinds {
    ($($kind:ident $values:ty, $as:ident $one:ty, $text:literal;)*) => {
        impl TensorData {
            /// Returns the number of values.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$kind(values) => values.len()),* }
            }

            /// Returns whether there are no values.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns the name of the type, as in [`TensorInfo::data_type`](super::TensorInfo::data_type).
            #[must_use]
            pub fn data_type(&self) -> &'static str {
                match self { $(Self::$kind(_) => $text),* }
            }

            $(
                #[doc = concat!("Returns the values if they are `", $text, "`.")]
                #[must_use]
                pub fn $as(&self) -> Option<&[$one]> {
                    match self { Self::$kind(values) => Some(values), _ => None }
                }
            )*
        }

        $(impl From<$values> for TensorData {
            fn from(values: $values) -> Self { Self::$kind(values) }
        })*
    };
}

kinds! {
    I8 Vec<i8>, as_i8 i8, "int8";
    U8 Bytes, as_u8 u8, "uint8";
    I16 Vec<i16>, as_i16 i16, "int16";
    U16 Vec<u16>, as_u16 u16, "uint16";
    I32 Vec<i32>, as_i32 i32, "int32";
    U32 Vec<u32>, as_u32 u32, "uint32";
    I64 Vec<i64>, as_i64 i64, "int64";
    U64 Vec<u64>, as_u64 u64, "uint64";
    F32 Vec<f32>, as_f32 f32, "float32";
    F64 Vec<f64>, as_f64 f64, "float64";
}

impl From<Vec<u8>> for TensorData {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values.into())
    }
}

impl Wire<v1::FlatTensor> for Tensor {
    fn into_wire(self) -> v1::FlatTensor {
        // Values of 16 bits go one to a number, as in Go and Python; see `narrow`.
        let tensor = match self.data {
            TensorData::I8(data) => Flat::Int8Tensor(v1::FlatTensorDataInt8 {
                data: data.into_iter().map(i8::cast_unsigned).collect(),
            }),
            TensorData::U8(data) => Flat::Uint8Tensor(v1::FlatTensorDataUInt8 { data }),
            TensorData::I16(data) => Flat::Int16Tensor(v1::FlatTensorDataInt16 {
                data: data.into_iter().map(|value| i32::from(value).cast_unsigned()).collect(),
            }),
            TensorData::U16(data) => Flat::Uint16Tensor(v1::FlatTensorDataUInt16 {
                data: data.into_iter().map(u32::from).collect(),
            }),
            TensorData::I32(data) => Flat::Int32Tensor(v1::FlatTensorDataInt32 { data }),
            TensorData::U32(data) => Flat::Uint32Tensor(v1::FlatTensorDataUInt32 { data }),
            TensorData::I64(data) => Flat::Int64Tensor(v1::FlatTensorDataInt64 { data }),
            TensorData::U64(data) => Flat::Uint64Tensor(v1::FlatTensorDataUInt64 { data }),
            TensorData::F32(data) => Flat::FloatTensor(v1::FlatTensorDataFloat { data }),
            TensorData::F64(data) => Flat::DoubleTensor(v1::FlatTensorDataDouble { data }),
        };
        v1::FlatTensor {
            shape: self.shape,
            tensor: Some(tensor),
        }
    }

    fn from_wire(wire: v1::FlatTensor, field: &'static str) -> Result<Self, Malformed> {
        let shape = wire.shape;
        let wrong = |values| {
            Malformed::new(format!(
                "`{field}` has a tensor of shape {shape:?} with {values} values"
            ))
        };
        let size = size(&shape).ok_or_else(|| wrong(0))?;
        let data = match wire
            .tensor
            .ok_or_else(|| Malformed::new(format!("`{field}` has a tensor without values")))?
        {
            Flat::Int8Tensor(tensor) => TensorData::I8(tensor.data.iter().map(|byte| byte.cast_signed()).collect()),
            Flat::Uint8Tensor(tensor) => TensorData::U8(tensor.data),
            Flat::Int16Tensor(tensor) => {
                TensorData::I16(narrow(&tensor.data, size).into_iter().map(u16::cast_signed).collect())
            }
            Flat::Uint16Tensor(tensor) => TensorData::U16(narrow(&tensor.data, size)),
            Flat::Int32Tensor(tensor) => TensorData::I32(tensor.data),
            Flat::Uint32Tensor(tensor) => TensorData::U32(tensor.data),
            Flat::Int64Tensor(tensor) => TensorData::I64(tensor.data),
            Flat::Uint64Tensor(tensor) => TensorData::U64(tensor.data),
            Flat::FloatTensor(tensor) => TensorData::F32(tensor.data),
            Flat::DoubleTensor(tensor) => TensorData::F64(tensor.data),
        };
        if data.len() != size {
            return Err(wrong(data.len()));
        }
        Ok(Self { shape, data })
    }
}

/// Reads values of 16 bits, of which peers know two layouts: Go and Python put one into each number, in its low half; C++ two,
/// the first in the low half. The shape tells them apart.
fn narrow(numbers: &[u32], size: usize) -> Vec<u16> {
    let halves = |number: &u32| [*number as u16, (number >> 16) as u16];
    if numbers.len() != size && numbers.len() == size.div_ceil(2) {
        numbers.iter().flat_map(halves).take(size).collect()
    } else {
        numbers.iter().map(|number| halves(number)[0]).collect()
    }
}

#[cfg(feature = "ndarray")]
mod views {
    use super::{Tensor, TensorData};
    use ndarray::{ArrayD, ArrayViewD, IxDyn};

    macro_rules! views {
        ($($name:ident $kind:ident $one:ty, $text:literal;)*) => {
            /// Views for `ndarray` (feature `ndarray`).
            impl Tensor {
                $(
                    #[doc = concat!("Returns a view of the values if they are `", $text, "`.")]
                    #[must_use]
                    pub fn $name(&self) -> Option<ArrayViewD<'_, $one>> {
                        let TensorData::$kind(values) = &self.data else { return None };
                        let shape: Option<Vec<usize>> =
                            self.shape.iter().map(|length| usize::try_from(*length).ok()).collect();
                        ArrayViewD::from_shape(IxDyn(&shape?), values).ok()
                    }
                )*
            }

            $(impl From<ArrayD<$one>> for Tensor {
                fn from(array: ArrayD<$one>) -> Self {
                    let shape = array.shape().iter().map(|length| *length as u64).collect();
                    let values: Vec<$one> = array.iter().copied().collect();
                    Self { shape, data: values.into() }
                }
            })*
        };
    }

    views! {
        view_i8 I8 i8, "int8";
        view_u8 U8 u8, "uint8";
        view_i16 I16 i16, "int16";
        view_u16 U16 u16, "uint16";
        view_i32 I32 i32, "int32";
        view_u32 U32 u32, "uint32";
        view_i64 I64 i64, "int64";
        view_u64 U64 u64, "uint64";
        view_f32 F32 f32, "float32";
        view_f64 F64 f64, "float64";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_sixteen_bits_are_read_in_both_layouts() {
        let one_each = [0xffff_fffe, 3, 4];
        let two_each = [0x0003_fffe, 0x0000_0004];
        for numbers in [&one_each[..], &two_each[..]] {
            let data = numbers.to_vec();
            let wire = v1::FlatTensor {
                shape: vec![3],
                tensor: Some(Flat::Int16Tensor(v1::FlatTensorDataInt16 { data })),
            };
            let tensor = Tensor::from_wire(wire, "t").expect("a tensor");
            assert_eq!(tensor.data, TensorData::I16(vec![-2, 3, 4]), "{numbers:?}");
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        assert!(Tensor::new([2, 2], vec![1_u8, 2, 3]).is_err());
        assert!(Tensor::new([u64::MAX, u64::MAX], vec![1_u8]).is_err());
        assert!(Tensor::new([0, 5], Vec::<f32>::new()).is_ok());
        let floats = Some(Flat::FloatTensor(v1::FlatTensorDataFloat { data: vec![1.0] }));
        let error = Tensor::from_wire(
            v1::FlatTensor {
                shape: vec![3],
                tensor: floats,
            },
            "t",
        )
        .expect_err("one of three");
        assert_eq!(error.to_string(), "`t` has a tensor of shape [3] with 1 values");
    }
}
