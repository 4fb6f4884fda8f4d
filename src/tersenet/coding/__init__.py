"""Integer streams to bytes and back: raw, huffman, rans, range. Import only what the table needs."""

from tersenet.coding.table import CODERS as CODERS
from tersenet.coding.table import Coder as Coder
from tersenet.coding.table import coder_code as coder_code
from tersenet.coding.table import coder_id as coder_id
from tersenet.coding.table import encode_smallest as encode_smallest
from tersenet.coding.table import get_coder as get_coder
