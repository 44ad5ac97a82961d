"""What models of several layers are put together from."""

from bilin.models.layers.convolution import ShortConvolution as ShortConvolution
from bilin.models.layers.stack import Layer as Layer
from bilin.models.layers.stack import Stack as Stack
from bilin.models.layers.swiglu import SwiGLU as SwiGLU
