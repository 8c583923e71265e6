#!/usr/bin/env python3
"""scripts/mutants without a build: finding places, drawing from them, bad arguments."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "mutants"
in_checkout = unittest.skipUnless((ROOT / ".git").exists(), "no checkout of Git")


def load():
    loader = importlib.machinery.SourceFileLoader("mutants", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutants", loader))
    loader.exec_module(module)
    return module


mutants = load()

C = r"""
#include <a> /* 1 < 2 */
#define TWICE(x) (2 * (x) \
                  + 0)
/* 3 < 4 && 5 */
static const char *text = "6 + 7 /* \" < 8", letter = '+'; // 9 - 10
_Static_assert(sizeof(int) == 4, "four");
static int f(const float *a, int *b)
{
    int c = -*b, *d = &c;
    for (int i = 0; i < c; i++)
        a[i]->count++;
    if (a && !b)
        return c << 2;
    while (c -= 0x0f)
        *d *= c % 10u;
    return c >= 1 ? b : 1.5e-3f;
}
/* clang-format off */
int glyphs[] = {1, 2, 3 + 4};
/* clang-format on */
"""
FOUND = {
    "arithmetic": ["c << 2 -> >>", "count++ -> --", "c -= 0x0f -> +=", "*d *= c -> /=",
                   "c % 10u -> /", "3 + 4 -> -"],
    "bounds": ["i < c -> <=", "c >= 1 -> >"],
    "conditions": ["a && !b -> ||", "!b -> ", "(a && !b) -> (!(a && !b))",
                   "(c -= 0x0f) -> (!(c -= 0x0f))"],
    "constants": ["0 -> 1", "2 -> 3", "0x0f -> 0x10", "10u -> 11u", "1 -> 2", "1.5e-3f -> 0.003f"],
    "sync": [],
}

CUDA = r"""
#define TRY(backend, ...) cuda_try(backend, __VA_ARGS__)
static __device__ void cluster_barrier()
{
    asm volatile("barrier.cluster.arrive;\n"
                 "barrier.cluster.wait;" ::: "memory");
    asm("rcp.approx %0, %1;" : "=f"(y) : "f"(x + 1));
}
void await(Backend *backend, Transfer *transfer);
__global__ void __launch_bounds__(256, 2) kernel(float *x)
{
    if (x)
        __syncthreads();
    __syncwarp(1u << 3);
    (void)__syncthreads_or(1);
    grid.barrier(count);
    grid_barrier<2>(1);
    last = count.fetch_add(one, cuda::memory_order_acq_rel) == all;
    while (!flag.load(cuda::memory_order_acquire) && count.load(cuda::memory_order_relaxed))
        ;
}
bool finish(Backend *backend)
{
    TRY(backend, "waiting",
        cudaStreamSynchronize(backend->stream));
    kernel<<<grid, THREADS>>>(x);
    if (!TRY(backend, "recording", cudaEventRecord(done, backend->stream)))
        return false;
    cudaError_t status = cudaEventSynchronize(done);
    table->await = await;
    s->device->operations[0]->await(backend, transfer);
#pragma omp barrier
    return transfer_wait(backend) && status == cudaSuccess;
}
"""
CUDA_SYNC = [
    'asm volatile("barrier.cluster.arrive;\\n" "barrier.cluster.wait;" ::: "memory") -> ',
    "__syncthreads() -> ", "__syncwarp(1u << 3) -> ", "(void)__syncthreads_or(1) -> ",
    "grid.barrier(count) -> ",
    "memory_order_acq_rel -> memory_order_acquire",
    "memory_order_acq_rel -> memory_order_release",
    "memory_order_acquire -> memory_order_relaxed",
    'TRY(backend, "waiting", cudaStreamSynchronize(backend->stream)) -> ',
    'TRY(backend, "recording", cudaEventRecord(done, backend->stream)) -> true',
    "cudaEventSynchronize(done) -> cudaSuccess",
    "s->device->operations[0]->await(backend, transfer) -> ", "#pragma omp barrier -> ",
    "transfer_wait(backend) -> true",
]


def changed(text, place):
    return text[:place.start] + place.after + text[place.end:]


def words(text):
    return " ".join(text.split())


class Places(unittest.TestCase):
    def test_of_c(self):
        places = mutants.places_in("f.c", C)
        for kind, expected in FOUND.items():
            with self.subTest(kind=kind):
                found = [place for place in places if place.kind == kind]
                self.assertEqual(len(found), len(expected), found)
                for text in expected:
                    before, after = text.split(" -> ")
                    self.assertTrue(any(
                        place.after == after and place.before in before and before in place.text
                        for place in found), (text, found))

    def test_where_they_are(self):
        lines = C.splitlines()
        for place in mutants.places_in("f.c", C):
            self.assertEqual(C[place.start:place.end], place.before)
            self.assertTrue(lines[place.line - 1][place.column - 1:].startswith(place.before))
            self.assertEqual(place.text, lines[place.line - 1].strip())
            self.assertNotEqual(place.before, place.after)

    def test_are_known_again_when_lines_move(self):
        before, after = (
            {mutants.key_of(mutants.record_of(place)) for place in mutants.places_in("k.cu", text)}
            for text in (CUDA, CUDA.replace("{\n", "{\n    __syncthreads();\n    done();\n")))
        self.assertEqual(len(before), len(mutants.places_in("k.cu", CUDA)))
        self.assertLessEqual(before, after)

    def test_of_cuda(self):
        places = mutants.places_in("k.cu", CUDA)
        found = [f"{words(place.before)} -> {place.after.strip()}" for place in places
                 if place.kind == "sync"]
        self.assertEqual(found, CUDA_SYNC)
        for place in places:  # the lines below keep their numbers
            self.assertEqual(changed(CUDA, place).count("\n"), CUDA.count("\n"))
        # Kernel launches, templates, launch bounds and assembly stay unchanged.
        numbers = [place.before for place in places if place.kind == "constants"]
        self.assertEqual(numbers, ["1u", "3", "1", "2", "1", "0"])
        self.assertFalse([place for place in places if place.kind == "bounds"])

    @in_checkout
    def test_of_the_sources(self):
        """No places in comments or directives (except pragmas), and brackets stay balanced."""
        places = mutants.places_of([str(ROOT / "src"), str(ROOT / "kernels")], mutants.KINDS)
        self.assertGreater(len(places), 5000)
        self.assertEqual({place.kind for place in places}, set(mutants.KINDS))
        for place in places:
            self.assertFalse(place.text.startswith(("//", "/*")), place)
            self.assertEqual(place.text.startswith("#"), place.before.startswith("#"), place)
            for one, other in ("()", "[]", "{}"):
                balance = [text.count(one) - text.count(other)
                           for text in (place.before, place.after)]
                self.assertEqual(*balance, place)

    def test_constants(self):
        for number, after in (("0", "1"), ("9", "10"), ("7ULL", "8ULL"), ("0xff", "0x100"),
                              ("0x0Fu", "0x10u"), ("0666", None), ("0.0f", "1.0f"),
                              ("0.5", "1.0"), ("1e-9", "2e-09"), ("0x1p3", None)):
            self.assertEqual(mutants.next_constant(number), after, number)


class Draw(unittest.TestCase):
    def setUp(self):
        self.places = [mutants.Place(f"src/{room}/a.c", line, 1, kind, 0, 1, "", "x", "x", 0)
                       for room, lines in (("large", 300), ("small", 30), ("tiny", 2))
                       for line in range(lines)
                       for kind in ("bounds", "constants")[:1 + (line % 3 > 0)]]

    def test_the_same_seed(self):
        one = mutants.draw(self.places, 50, 1, 3)
        self.assertEqual(one, mutants.draw(list(reversed(self.places))[::-1], 50, 1, 3))
        self.assertNotEqual(one, mutants.draw(self.places, 50, 2, 3))
        self.assertEqual(len(one), len(set(one)))
        # The other rooms do not affect a room, and a larger draw includes the smaller one.
        alone = [place for place in self.places if "/small/" in place.file]
        drawn = [place for place in one if "/small/" in place.file]
        self.assertLessEqual(set(drawn), set(mutants.draw(alone, 50, 1, 3)))
        self.assertLessEqual(set(one), set(mutants.draw(self.places, 90, 1, 3)))

    def test_proportion_and_floor(self):
        drawn = mutants.draw(self.places, 110, 1, 3)
        counts = {name: sum(f"/{name}/" in place.file for place in drawn)
                  for name in ("large", "small", "tiny")}
        self.assertEqual(counts, {"large": 99, "small": 10, "tiny": 3})
        bounds = sum(place.kind == "bounds" for place in drawn if "/large/" in place.file)
        self.assertEqual(bounds, 50)  # the kinds alternate

    def test_rooms(self):
        self.assertEqual(mutants.room("src/operations/cpu/nnmf.c"), "src/operations")
        self.assertEqual(mutants.room("kernels/nnmf.cu"), "kernels")

    @in_checkout
    def test_every_source_has_tests(self):
        for name in mutants.checkout_files():
            self.assertTrue(any(mutants.re.match(path, name) for path, _ in mutants.MATTER), name)


class Results(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "results.jsonl"
        self.place = mutants.places_in("src/a/f.c", C)[0]

    def test_are_found_again(self):
        for outcome in ("unnoticed", "noticed"):
            with open(self.path, "a") as file:
                file.write(json.dumps({**mutants.record_of(self.place), "outcome": outcome}) + "\n")
        records = mutants.read_results(self.path)[mutants.key_of(mutants.record_of(self.place))]
        self.assertEqual([record["outcome"] for record in records], ["unnoticed", "noticed"])

    def test_a_bad_line(self):
        self.path.write_text("{}\n")
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as printed:
            mutants.read_results(self.path)
        self.assertIn("line 1: a result", printed.getvalue())
        self.assertEqual(dict(mutants.read_results(self.path.with_suffix(".none"))), {})


@in_checkout
class Refused(unittest.TestCase):
    def test_bad_input(self):
        for arguments, mentioned in (([], "a folder, file or FILE:LINE"), (["nowhere"], "nowhere"),
                                     (["README.md"], "README.md"), (["src", "--kinds", "sums"], "sums"),
                                     (["src", "--number", "none"], "none"), (["src", "--what"], "--what"),
                                     (["src/base/error.c:1"], "no place"),
                                     (["src", "--tests", "("], "regular expression")):
            done = subprocess.run([sys.executable, SCRIPT, *arguments, "--list"], check=False,
                                  capture_output=True, text=True, cwd=ROOT)
            self.assertEqual(done.returncode, 1, done)
            self.assertRegex(done.stderr, r"\Amutants: [^\n]+\n\Z")
            self.assertIn(mentioned, done.stderr)


if __name__ == "__main__":
    unittest.main()
