//! One family of the text at a time: its name, what it means, and its rows.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::histogram::Histogram;

pub(super) type Outcome = Result<(), fmt::Error>;

/// Labels with their values.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// What a family is called, without its unit, and what it is about.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
}

/// Writes families.
pub(super) struct Families<'e>(DescriptorEncoder<'e>);

impl<'e> Families<'e> {
    pub(super) fn new(encoder: DescriptorEncoder<'e>) -> Self {
        Self(encoder)
    }

    /// A family of one row that is always 1; `_info` is put behind its name.
    pub(super) fn info<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &Labels<'_, N>,
    ) -> Outcome {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    /// What goes up and down.
    pub(super) fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &Name,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Outcome {
        let mut family =
            self.0.encode_descriptor(name.name, name.help, name.unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What only goes up; `_total` is put behind its name.
    pub(super) fn counter<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &Name,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Outcome {
        let mut family =
            self.0.encode_descriptor(name.name, name.help, name.unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// How often something took how long.
    pub(super) fn histogram<L: EncodeLabelSet>(
        &mut self,
        name: &Name,
        rows: impl IntoIterator<Item = (L, Histogram)>,
    ) -> Outcome {
        let mut family =
            self.0.encode_descriptor(name.name, name.help, name.unit.as_ref(), MetricType::Histogram)?;
        for (labels, took) in rows {
            let sum = took.sum().as_secs_f64();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum,
                took.count(),
                &took.buckets(),
                None,
            )?;
        }
        Ok(())
    }
}

/// A family without a unit.
pub(super) const fn plain(name: &'static str, help: &'static str) -> Name {
    Name { name, help, unit: None }
}

/// A family in seconds, which is put behind its name.
pub(super) const fn seconds(name: &'static str, help: &'static str) -> Name {
    Name { name, help, unit: Some(Unit::Seconds) }
}

/// A family in bytes, which is put behind its name.
pub(super) const fn bytes(name: &'static str, help: &'static str) -> Name {
    Name { name, help, unit: Some(Unit::Bytes) }
}
