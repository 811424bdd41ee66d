"""The last few values of something that is costly to make."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few values, kept by key; two threads that want the same one make it once."""

    def __init__(self, size: int) -> None:
        self.size, self.lock = size, Lock()
        self.values: OrderedDict[Hashable, Future[T]] = OrderedDict()

    def has(self, key: Hashable) -> bool:
        return key in self.values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self.lock:
            found = self.values.get(key)
            value = found or Future[T]()
            self.values[key] = value
            self.values.move_to_end(key)
            while len(self.values) > self.size:
                self.values.popitem(last=False)
        if found is None:
            try:
                value.set_result(make())
            except BaseException as problem:
                with self.lock:
                    if self.values.get(key) is value:
                        del self.values[key]
                value.set_exception(problem)
        return value.result()
