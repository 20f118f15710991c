/* The library holds this program several times, compiled for different processors: each copy's functions end in the name
 * of its kernels, such as model_create_vnni. Included first by kernels.c. */

#ifndef KERNELS
#define KERNELS plain
#endif

#define JOINED_(name, kernels) name##_##kernels
#define JOINED(name, kernels) JOINED_(name, kernels)

#define model_create JOINED(model_create, KERNELS)
#define model_destroy JOINED(model_destroy, KERNELS)
#define streams_create JOINED(streams_create, KERNELS)
#define streams_destroy JOINED(streams_destroy, KERNELS)
#define streams_read JOINED(streams_read, KERNELS)
#define streams_logits JOINED(streams_logits, KERNELS)
#define streams_frequencies JOINED(streams_frequencies, KERNELS)
#define streams_intervals JOINED(streams_intervals, KERNELS)
#define streams_distributions JOINED(streams_distributions, KERNELS)
#define sum_before JOINED(sum_before, KERNELS)
#define model_odds JOINED(model_odds, KERNELS)
#define model_vocabulary JOINED(model_vocabulary, KERNELS)
#define model_depth JOINED(model_depth, KERNELS)
#define streams_odds JOINED(streams_odds, KERNELS)
#define frame_create JOINED(frame_create, KERNELS)
#define frame_destroy JOINED(frame_destroy, KERNELS)
#define frame_encode JOINED(frame_encode, KERNELS)
#define frame_decode JOINED(frame_decode, KERNELS)
#define frame_open JOINED(frame_open, KERNELS)
#define frame_words JOINED(frame_words, KERNELS)
#define frame_done JOINED(frame_done, KERNELS)
#define frame_stop JOINED(frame_stop, KERNELS)
#define frame_outcome JOINED(frame_outcome, KERNELS)
#define memory_create JOINED(memory_create, KERNELS)
#define memory_destroy JOINED(memory_destroy, KERNELS)
#define memory_open JOINED(memory_open, KERNELS)
#define memory_predict JOINED(memory_predict, KERNELS)
#define memory_learn JOINED(memory_learn, KERNELS)
#define memory_close JOINED(memory_close, KERNELS)
#define memory_intervals JOINED(memory_intervals, KERNELS)
#define memory_logarithm JOINED(memory_logarithm, KERNELS)
#define memory_read JOINED(memory_read, KERNELS)
#define memory_learnt JOINED(memory_learnt, KERNELS)
#define runs_here JOINED(runs_here, KERNELS)
#define self_test JOINED(self_test, KERNELS)
