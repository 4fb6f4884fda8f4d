"""A network learns from another one's answers, and from what happens inside it.

taught = lesson(student, as_teacher([first, second]), Teacher(temperature=4, labels=0.1), config, x)
fit(taught.model, train, validate, config, seed=0, criterion=taught.criterion)
"""

from tersenet.methods.distill.answered import Answered as Answered
from tersenet.methods.distill.answered import answered as answered
from tersenet.methods.distill.fingerprint import teacher_fingerprint as teacher_fingerprint
from tersenet.methods.distill.lesson import Lesson as Lesson
from tersenet.methods.distill.lesson import lesson as lesson
from tersenet.methods.distill.live import taught_by as taught_by
from tersenet.methods.distill.losses import logit_loss as logit_loss
from tersenet.methods.distill.losses import soft_target_loss as soft_target_loss
from tersenet.methods.distill.settings import Attention as Attention
from tersenet.methods.distill.settings import Guide as Guide
from tersenet.methods.distill.settings import Teacher as Teacher
from tersenet.methods.distill.stored import store_answers as store_answers
from tersenet.methods.distill.taught import Taught as Taught
from tersenet.methods.distill.teachers import Ensemble as Ensemble
from tersenet.methods.distill.teachers import as_teacher as as_teacher
from tersenet.methods.distill.views import ViewAnEpoch as ViewAnEpoch
from tersenet.methods.distill.views import Views as Views
