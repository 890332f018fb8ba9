//! Each network by itself: its golden inputs, all together and one by one, against its golden outputs.

use std::io;

use super::golden::{Expected, Golden};
use super::judge::Rule;
use super::sheet::Sheet;
use super::{ParityError, Precision};
use crate::networks::{Network, NetworkError, Networks, Tensor};

/// Compares `network`, which the bundle calls `name`.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    network: Network,
    name: &str,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let ports = network.interface();
    let inputs = ports
        .inputs
        .iter()
        .map(|port| golden.floats(&format!("in.{}", port.name)))
        .collect::<Result<Vec<_>, _>>()?;
    let expected = ports
        .outputs
        .iter()
        .map(|port| golden.expected(&format!("out.{}", port.name)))
        .collect::<Result<Vec<_>, _>>()?;
    let batch = network.check(&inputs).map_err(|error| golden.unusable(error.to_string()))?;

    let rule = Rule::of(network, Precision::of(networks));
    let together = networks.run(network, &inputs);
    judge(network, rule, &format!("{name}, {batch} together"), together, &expected, sheet)?;
    let one_by_one = (0..batch)
        .map(|item| networks.run(network, &inputs.iter().map(|input| slice(input, item)).collect::<Vec<_>>()))
        .collect::<Result<Vec<_>, _>>()
        .map(join);
    Ok(judge(network, rule, &format!("{name}, one by one"), one_by_one, &expected, sheet)?)
}

/// Compares what came out of one network with what is known of each output.
fn judge(
    network: Network,
    rule: Rule,
    name: &str,
    found: Result<Vec<Tensor>, NetworkError>,
    expected: &[Vec<(String, Expected)>],
    sheet: &mut Sheet<'_>,
) -> io::Result<()> {
    let ports = network.interface().outputs;
    let found = match found {
        Ok(found) if found.len() == ports.len() => found,
        Ok(found) => {
            let why = format!("{} outputs, where {} were expected", found.len(), ports.len());
            return sheet.broken(rule.id, name, why);
        }
        Err(error) => return sheet.broken(rule.id, name, error),
    };
    for ((port, found), parts) in ports.iter().zip(&found).zip(expected) {
        let name = |part: &str| format!("{name}: {part}");
        if !port.takes(&found.shape) {
            let why = format!("{:?}, where {port} was expected", found.shape);
            sheet.broken(rule.id, &name(port.name), why)?;
            continue;
        }
        for (part, expected) in parts {
            rule.judge(&name(part.trim_start_matches("out.")), found, expected, sheet)?;
        }
    }
    Ok(())
}

/// Item `item` of a batch, as a batch of one.
pub(super) fn slice(tensor: &Tensor, item: usize) -> Tensor {
    let size = tensor.data.len() / tensor.shape[0];
    let mut shape = tensor.shape.clone();
    shape[0] = 1;
    Tensor::new(shape, tensor.data[item * size..][..size].to_vec())
}

/// Batches of one, each with all outputs, as outputs of one batch.
fn join(items: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let mut items = items.into_iter();
    let mut joined = items.next().unwrap_or_default();
    for item in items {
        for (all, one) in joined.iter_mut().zip(item) {
            all.shape[0] += one.shape[0];
            all.data.extend(one.data);
        }
    }
    joined
}
