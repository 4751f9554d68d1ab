// activation: the functions between a layer's sum and its dropout, and their derivatives.
//
//     relu(z) = z if z > 0, else 0         gelu(z) = z * Phi(z)
//     silu(z) = z * sigmoid(z)             sigmoid(z) = 1 / (1 + exp(-z))
//
// Phi is the cumulative normal distribution, by formula 7.1.26 of Abramowitz and Stegun: its error
// is at most 8e-8. Three bits of `flags`, from ACTIVATION on, select the function.
// Sources: Hendrycks and Gimpel, "Gaussian error linear units" (2016), the exact form; Elfwing et
// al. (2018) for SiLU.
// CPU twin: src/cpu/reference/activation.rs.

const ACTIVATION: u32 = 16u;
const ACTIVATION_RELU: u32 = 1u;
const ACTIVATION_GELU: u32 = 2u;
const ACTIVATION_SILU: u32 = 3u;
const ACTIVATION_SIGMOID: u32 = 4u;

// Clamps z to [-bound, bound], so that no square or exponential overflows; the results are the same
// beyond the bound. A NaN stays NaN.
fn bounded(z: vec4<f32>, bound: f32) -> vec4<f32> {
    return select(z, sign(z) * bound, abs(z) > vec4<f32>(bound));
}

// Passes a NaN on by selection, since a device's exp may lose it.
fn sigmoid(z: vec4<f32>) -> vec4<f32> {
    let near = bounded(z, 80.0);
    return select(near, 1.0 / (1.0 + exp(-near)), abs(near) <= vec4<f32>(80.0));
}

// Returns Phi(z); `bell` is exp(-z^2 / 2).
fn normal(z: vec4<f32>, bell: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.23164190 * abs(z));
    let tail = 0.5 * bell * t * (0.254829592 + t * (-0.284496736
        + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return select(tail, 1.0 - tail, z > vec4<f32>(0.0));
}

fn activate(z: vec4<f32>) -> vec4<f32> {
    let kind = (p.own.flags / ACTIVATION) & 7u;
    if kind == ACTIVATION_RELU {
        return relu(z);
    }
    if kind == ACTIVATION_GELU {
        let near = bounded(z, 20.0);
        return z * normal(near, exp(-0.5 * near * near));
    }
    if kind == ACTIVATION_SILU {
        return z * sigmoid(z);
    }
    if kind == ACTIVATION_SIGMOID {
        return sigmoid(z);
    }
    return z;
}

// Returns act'(z) * grad.
fn back(z: vec4<f32>, grad: vec4<f32>) -> vec4<f32> {
    let kind = (p.own.flags / ACTIVATION) & 7u;
    if kind == ACTIVATION_RELU {
        // By selection: if z is NaN, the gradient passes, as in autograd.
        return select(grad, vec4<f32>(0.0), z <= vec4<f32>(0.0));
    }
    if kind == ACTIVATION_GELU {
        let near = bounded(z, 20.0);
        let bell = exp(-0.5 * near * near);
        return (normal(near, bell) + near * bell * 0.39894228) * grad;
    }
    if kind == ACTIVATION_SILU {
        let near = bounded(z, 80.0);
        let s = sigmoid(near);
        return s * (1.0 + near * (1.0 - s)) * grad;
    }
    if kind == ACTIVATION_SIGMOID {
        let s = sigmoid(z);
        return s * (1.0 - s) * grad;
    }
    return grad;
}
