//! Implementation of the operations for Burn's autodiff backend.

use crate::ops::{DropoutGradients, DropoutOps};
use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use std::marker::PhantomData;
use wgpu_dropout::Dropout;

/// Backward pass of dropout, `dX = M·s·dY`, with the mask drawn again.
#[derive(Debug)]
struct DropoutBackward;

impl<B: DropoutOps> Backward<B, 1> for DropoutBackward {
    type State = Dropout;

    fn backward(self, ops: Ops<Dropout, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::contract_dropout(grad, ops.state));
    }
}

/// Recomputation of the output if gradient checkpointing did not keep it. The bits are the same,
/// since the mask is a function of its key.
#[derive(Debug)]
struct DropoutAgain<B> {
    x: NodeId,
    dropout: Dropout,
    backend: PhantomData<B>,
}

impl<B: DropoutOps> RetroForward for DropoutAgain<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<B::FloatTensorPrimitive>(&self.x);
        states.save(out_node, B::contract_dropout(x, self.dropout));
    }
}

/// Gradients of `Y = M·s·relu(X·W + b)`. The signs of `Y` show where the gradient passes, so no
/// mask is kept.
#[derive(Debug)]
struct LinearBackward;

impl<B: DropoutGradients> Backward<B, 3> for LinearBackward {
    /// `X`, `W`, `Y`, and the mask with its scale.
    type State = (NodeId, NodeId, FloatTensor<B>, Dropout);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let (x, weight, output, dropout) = ops.state;
        // Each must be retrieved as often as it was checkpointed, even if it is not used.
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        let grad = grads.consume::<B>(&ops.node);
        let [of_x, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_x {
            grads.register::<B>(
                node.id,
                B::linear_grad_input(grad.clone(), output.clone(), weight, dropout),
            );
        }
        if of_weight.is_some() || of_bias.is_some() {
            let (dw, db) = B::linear_grad_weight(x, grad, output, dropout);
            for (node, gradient) in [(of_weight, dw), (of_bias, db)] {
                if let Some(node) = node {
                    grads.register::<B>(node.id, gradient);
                }
            }
        }
    }
}

impl<B: DropoutOps + DropoutGradients, C: CheckpointStrategy> DropoutOps for Autodiff<B, C> {
    fn contract_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let node = x.node();
        let again = DropoutAgain::<B> { x: node.id(), dropout, backend: PhantomData };
        let prepared =
            DropoutBackward.prepare::<C>([node]).memory_bound().retro_forward(again).parents([&x]);
        match prepared.stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(dropout, B::contract_dropout(x.into_primitive(), dropout))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::contract_dropout(x.into_primitive(), dropout))
            }
        }
    }

    fn linear_relu_dropout(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let forward = |x, weight, bias| B::linear_relu_dropout(x, weight, bias, dropout);
        match LinearBackward
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let [kept_x, kept_weight] = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let y = forward(x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                prep.finish((kept_x, kept_weight, y.clone(), dropout), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(
                x.into_primitive(),
                weight.into_primitive(),
                bias.into_primitive(),
            )),
        }
    }
}
