from tersenet.acceleration import accelerate as accelerate
from tersenet.artifact import load as load
from tersenet.artifact import save as save
from tersenet.compression import Result as Result
from tersenet.compression import compress as compress
from tersenet.errors import TersenetError as TersenetError
from tersenet.graph import Network as Network
from tersenet.graph import capture as capture
from tersenet.measure import Ledger as Ledger
from tersenet.measure import size as size
from tersenet.recipes import GoalNotMet as GoalNotMet
from tersenet.recipes import Recipe as Recipe

__version__: str
