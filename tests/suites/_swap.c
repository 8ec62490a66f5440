/* Test tool only: recapture a generator at the instant at which it suspends.

   install(callback)   sets a frame evaluation function (PEP 523). Whenever the evaluation of a generator's, coroutine's or
                       async generator's frame comes back with the frame suspended, or a call has just made a new one, the
                       callback is called with it (and whether it is new), before anyone else has seen it. While the callback runs nothing is
                       watched, tracing is off and the recursion limit is raised a little, so that it is not noticed.
                       install(None) installs the function but watches nothing.
   swap(a, b)          exchanges the frames of two suspended (or two unstarted) objects of one type: code, function,
                       position, slots, exception state. Identity, names, weak references, frame object, hooks and
                       flags stay. Refuses unless both have the same shape; returns the slots that differed.
   compare(a, b)       as swap, but exchanges nothing, and the two need not live in the same namespace.
   collect(list)       appends to the list every frame object that is made or suspends while a callback runs, until
                       collect(None): what a callback rebuilds it can then abandon.
   uninstall()         as it was before.

   Compiled at test time against the headers of the running interpreter, so no layout is guessed. */
#define Py_BUILD_CORE_MODULE 1
#include "Python.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_code.h"
#if PY_VERSION_HEX >= 0x030e0000
#  include "internal/pycore_interpframe.h"
#  include "internal/pycore_stackref.h"
#  include "internal/pycore_genobject.h"
#  include "internal/pycore_tstate.h"
#endif
#include <stddef.h>

#if PY_VERSION_HEX < 0x030b0000 || PY_VERSION_HEX >= 0x03100000
#  error "the frames of this version are not known"
#endif
#ifdef Py_GIL_DISABLED
#  error "free-threaded builds are not known"
#endif

typedef _PyInterpreterFrame Frame;

#if PY_VERSION_HEX >= 0x030e0000
typedef _PyStackRef Slot;
#  define FRAME_OF(gen) (&((PyGenObject *)(gen))->gi_iframe)
#  define CODE_OF(f) ((PyCodeObject *)PyStackRef_AsPyObjectBorrow((f)->f_executable))
#  define EXECUTABLE f_executable
#  define FUNCTION f_funcobj
#  define POSITION instr_ptr
#  define DEPTH(f) ((Py_ssize_t)((f)->stackpointer - (f)->localsplus))
#  define SET_DEPTH(f, n) ((f)->stackpointer = (f)->localsplus + (n))
#  define BITS(s) ((uintptr_t)(s).bits)
#  define SAME(s, t) ((BITS(s) & ~(uintptr_t)1) == (BITS(t) & ~(uintptr_t)1))
#else
typedef PyObject *Slot;
#  define FRAME_OF(gen) ((Frame *)((PyGenObject *)(gen))->gi_iframe)
#  if PY_VERSION_HEX >= 0x030d0000
#    define EXECUTABLE f_executable
#    define POSITION instr_ptr
#  else
#    define EXECUTABLE f_code
#    define POSITION prev_instr
#  endif
#  define CODE_OF(f) ((PyCodeObject *)(f)->EXECUTABLE)
#  if PY_VERSION_HEX >= 0x030c0000
#    define FUNCTION f_funcobj
#  else
#    define FUNCTION f_func
#  endif
#  define DEPTH(f) ((Py_ssize_t)(f)->stacktop)
#  define SET_DEPTH(f, n) ((f)->stacktop = (int)(n))
#  define BITS(s) ((uintptr_t)(s))
#  define SAME(s, t) ((s) == (t))
#endif

#define EXCHANGE(type, x, y) do { type held_ = (x); (x) = (y); (y) = held_; } while (0)

static PyObject *callback = NULL;
static PyObject *collected = NULL;
static _Thread_local int busy = 0;
static unsigned long long suspensions = 0, creations = 0, lost = 0;

static int
is_frame_object_type(PyObject *o)
{
    return PyGen_CheckExact(o) || PyCoro_CheckExact(o) || PyAsyncGen_CheckExact(o);
}

static int
state_of(PyObject *gen)
{
    return ((PyGenObject *)gen)->gi_frame_state;
}

static int
is_suspended(PyObject *gen)
{
    int state = state_of(gen);
#if PY_VERSION_HEX >= 0x030d0000
    return state == FRAME_SUSPENDED || state == FRAME_SUSPENDED_YIELD_FROM;
#else
    return state == FRAME_SUSPENDED;
#endif
}

/* ---- the hook ---- */

static void
raise_recursion_limit(PyThreadState *tstate, int by)
{
#if PY_VERSION_HEX >= 0x030c0000
    tstate->py_recursion_remaining += by;
#  if PY_VERSION_HEX < 0x030e0000
    tstate->c_recursion_remaining += by;
#  endif
#else
    tstate->recursion_remaining += by;
#endif
}

static void
call_back(PyThreadState *tstate, PyObject *gen, PyObject *created)
{
#if PY_VERSION_HEX >= 0x030f0000
    /* whether the frame yielded or returned is told through the thread state, which the callback's generators change */
    __typeof__(((_PyThreadStateImpl *)tstate)->generator_return_kind) kind =
        ((_PyThreadStateImpl *)tstate)->generator_return_kind;
#endif
    busy = 1;
    PyThreadState_EnterTracing(tstate);
    raise_recursion_limit(tstate, 400);
    Py_INCREF(gen);
    PyObject *done = PyObject_CallFunctionObjArgs(callback, gen, created, NULL);
    Py_DECREF(gen);
    if (done == NULL) {
        lost++;
        PyErr_WriteUnraisable(callback);
    }
    Py_XDECREF(done);
#if PY_VERSION_HEX >= 0x030f0000
    ((_PyThreadStateImpl *)tstate)->generator_return_kind = kind;
#endif
    raise_recursion_limit(tstate, -400);
    PyThreadState_LeaveTracing(tstate);
    busy = 0;
}

/* An async generator at a yield: asend() will clear ag_running_async right after this; let it be seen as it will be. */
static int
at_yield(PyObject *gen, PyObject *result)
{
    return PyAsyncGen_CheckExact(gen) && !strcmp(Py_TYPE(result)->tp_name, "async_generator_wrapped_value");
}

static void
call_back_suspended(PyThreadState *tstate, PyObject *gen, PyObject *result)
{
    PyAsyncGenObject *ag = (PyAsyncGenObject *)gen;
    int clear = at_yield(gen, result);
    __typeof__(ag->ag_running_async) running = ag->ag_running_async;
    if (clear) {
        ag->ag_running_async = 0;
    }
#if PY_VERSION_HEX < 0x030c0000
    /* before 3.12 it is not YIELD_VALUE but the caller that makes the outer exception state the current one again */
    _PyErr_StackItem *state = &((PyGenObject *)gen)->gi_exc_state, *outer = state->previous_item;
    tstate->exc_info = outer;
    state->previous_item = NULL;
#endif
    call_back(tstate, gen, Py_False);
#if PY_VERSION_HEX < 0x030c0000
    state->previous_item = outer;
    tstate->exc_info = state;
#endif
    if (clear) {
        ag->ag_running_async = running;
    }
}

static PyObject *
generator_of(Frame *frame)
{
#if PY_VERSION_HEX >= 0x030e0000
    return (PyObject *)((char *)frame - offsetof(PyGenObject, gi_iframe));
#else
    return (PyObject *)((char *)frame - offsetof(PyGenObject, gi_iframe[0]));
#endif
}

static void
collect_one(PyObject *gen)
{
    if (gen != NULL && PyList_Append(collected, gen) < 0) {
        PyErr_WriteUnraisable(gen);
    }
}

static PyObject *
evaluate(PyThreadState *tstate, Frame *frame, int throwing)
{
    int of_generator = frame->owner == FRAME_OWNED_BY_GENERATOR;
    int makes = !of_generator && (CODE_OF(frame)->co_flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR));
    PyObject *result = _PyEval_EvalFrameDefault(tstate, frame, throwing);
    if (result == NULL || (busy ? collected == NULL : callback == NULL || callback == Py_None)) {
        return result;
    }
    PyObject *suspended = of_generator && is_suspended(generator_of(frame)) ? generator_of(frame) : NULL;
    PyObject *created = makes && is_frame_object_type(result) && state_of(result) == FRAME_CREATED ? result : NULL;
    if (busy) {
        collect_one(suspended ? suspended : created);
    }
    else if (suspended) {
        suspensions++;
        call_back_suspended(tstate, suspended, result);
    }
    else if (created) {
        creations++;
        call_back(tstate, created, Py_True);
    }
    return result;
}

static PyObject *
install(PyObject *module, PyObject *arg)
{
    Py_XSETREF(callback, Py_NewRef(arg));
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
    Py_RETURN_NONE;
}

static PyObject *
uninstall(PyObject *module, PyObject *unused)
{
    Py_CLEAR(callback);
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), _PyEval_EvalFrameDefault);
    Py_RETURN_NONE;
}

static PyObject *
collect(PyObject *module, PyObject *arg)
{
    if (arg != Py_None && !PyList_Check(arg)) {
        PyErr_SetString(PyExc_TypeError, "a list or None");
        return NULL;
    }
    Py_XSETREF(collected, arg == Py_None ? NULL : Py_NewRef(arg));
    Py_RETURN_NONE;
}

static PyObject *
counts(PyObject *module, PyObject *unused)
{
    return Py_BuildValue("{sKsKsK}", "suspensions", suspensions, "creations", creations, "lost", lost);
}

/* ---- exchanging two frames ---- */

static PyObject *
slot_value(Slot slot)
{
    uintptr_t bits = BITS(slot);
#if PY_VERSION_HEX >= 0x030e0000
    if ((bits & 3) == 3) {
        return PyLong_FromSsize_t((Py_ssize_t)bits >> 2);
    }
    bits &= ~(uintptr_t)3;
#endif
    return bits ? Py_NewRef((PyObject *)bits) : PyUnicode_FromString("<NULL>");
}

static PyObject *
differing_slots(Frame *f, Frame *g)
{
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < DEPTH(f); i++) {
        if (SAME(f->localsplus[i], g->localsplus[i])) {
            continue;
        }
        PyObject *row = Py_BuildValue("(nNN)", i, slot_value(f->localsplus[i]), slot_value(g->localsplus[i]));
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    return list;
}

static int
line_of(Frame *f)
{
    return PyCode_Addr2Line(CODE_OF(f), (int)(f->POSITION - _PyCode_CODE(CODE_OF(f))) * (int)sizeof(_Py_CODEUNIT));
}

static int
check_shape(PyObject *a, PyObject *b, int same_home)
{
    Frame *f = FRAME_OF(a), *g = FRAME_OF(b);
    const char *what = NULL;
    long x = 0, y = 0;
#define MUST_AGREE(name, p, q) if (what == NULL && (x = (long)(p)) != (y = (long)(q))) { what = name; }
    MUST_AGREE("state", state_of(a), state_of(b));
    MUST_AGREE("number of locals", CODE_OF(f)->co_nlocalsplus, CODE_OF(g)->co_nlocalsplus);
    MUST_AGREE("slots in use", DEPTH(f), DEPTH(g));
    MUST_AGREE("line", line_of(f), line_of(g));
    if (same_home) {
        MUST_AGREE("globals", f->f_globals, g->f_globals);
        MUST_AGREE("builtins", f->f_builtins, g->f_builtins);
    }
    if (same_home && !(CODE_OF(f)->co_flags & CO_OPTIMIZED)) {
        MUST_AGREE("namespace", f->f_locals, g->f_locals);
    }
#undef MUST_AGREE
    if (what != NULL) {
        PyErr_Format(PyExc_ValueError, "%s: %ld before, %ld after", what, x, y);
        return -1;
    }
    return 0;
}

static void
exchange(PyObject *a, PyObject *b)
{
    Frame *f = FRAME_OF(a), *g = FRAME_OF(b);
    Py_ssize_t depth = DEPTH(f);
    for (Py_ssize_t i = 0; i < depth; i++) {
        EXCHANGE(Slot, f->localsplus[i], g->localsplus[i]);
    }
    SET_DEPTH(f, depth);
    SET_DEPTH(g, depth);
    EXCHANGE(__typeof__(f->EXECUTABLE), f->EXECUTABLE, g->EXECUTABLE);
    EXCHANGE(__typeof__(f->FUNCTION), f->FUNCTION, g->FUNCTION);
    EXCHANGE(__typeof__(f->POSITION), f->POSITION, g->POSITION);
#if PY_VERSION_HEX >= 0x030c0000
    EXCHANGE(uint16_t, f->return_offset, g->return_offset);
#else
    EXCHANGE(PyCodeObject *, ((PyGenObject *)a)->gi_code, ((PyGenObject *)b)->gi_code);
#endif
    EXCHANGE(PyObject *, ((PyGenObject *)a)->gi_exc_state.exc_value, ((PyGenObject *)b)->gi_exc_state.exc_value);
}

static PyObject *
compare_frames(PyObject *args, int same_home)
{
    PyObject *a, *b;
    if (!PyArg_ParseTuple(args, "OO", &a, &b)) {
        return NULL;
    }
    if (a == b || Py_TYPE(a) != Py_TYPE(b) || !is_frame_object_type(a)) {
        PyErr_SetString(PyExc_ValueError, "wanted two different objects of one frame type");
        return NULL;
    }
    if (!is_suspended(a) && state_of(a) != FRAME_CREATED) {
        PyErr_SetString(PyExc_ValueError, "neither suspended nor unstarted");
        return NULL;
    }
    if (check_shape(a, b, same_home) < 0) {
        return NULL;
    }
    PyObject *ea = ((PyGenObject *)a)->gi_exc_state.exc_value, *eb = ((PyGenObject *)b)->gi_exc_state.exc_value;
    ea = ea == NULL ? Py_None : ea;
    eb = eb == NULL ? Py_None : eb;
    if (same_home ? ea != eb : (ea == Py_None) != (eb == Py_None)) {
        PyErr_Format(PyExc_ValueError, "exception handled: %R before, %R after", ea, eb);
        return NULL;
    }
    return differing_slots(FRAME_OF(a), FRAME_OF(b));
}

static PyObject *
compare(PyObject *module, PyObject *args)
{
    return compare_frames(args, 0);
}

static PyObject *
swap(PyObject *module, PyObject *args)
{
    PyObject *rows = compare_frames(args, 1);
    if (rows != NULL) {
        exchange(PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1));
    }
    return rows;
}

static PyMethodDef methods[] = {
    {"install", install, METH_O, "Call the argument with every frame object that suspends or is made."},
    {"uninstall", uninstall, METH_NOARGS, "Put the interpreter's own evaluation function back."},
    {"counts", counts, METH_NOARGS, "How many suspensions and creations were seen, how many callbacks failed."},
    {"collect", collect, METH_O, "Keep every frame object that is made or suspends during a callback in this list."},
    {"compare", compare, METH_VARARGS, "The slots in which two suspended objects differ."},
    {"swap", swap, METH_VARARGS, "Exchange the frames of two suspended objects; returns the slots that differed."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_swap", NULL, -1, methods};

PyMODINIT_FUNC
PyInit__swap(void)
{
    return PyModule_Create(&definition);
}
