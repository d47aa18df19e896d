"""Every built-in optimizer and schedule meets its contract."""

from mmbench_optimizer.optimizers import SGD, Adagrad, Adam, AdamW
from mmbench_optimizer.schedules import Constant, Cosine, Linear, OneCycle

from mmbench.testing.optimizer import OptimizerContract
from mmbench.testing.schedule import ScheduleContract


class TestAdamW(OptimizerContract):
    part = AdamW


class TestAdam(OptimizerContract):
    part = Adam


class TestSGD(OptimizerContract):
    part = SGD


class TestAdagrad(OptimizerContract):
    part = Adagrad


class TestConstant(ScheduleContract):
    part = Constant


class TestLinear(ScheduleContract):
    part = Linear


class TestCosine(ScheduleContract):
    part = Cosine


class TestOneCycle(ScheduleContract):
    part = OneCycle
