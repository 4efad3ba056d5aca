/* What the layers of an exported model compute: plain C99 on contiguous float arrays.
   Weights are read through ap_weight, as ROM holds them. Nothing is allocated; sums run in
   float. */
#ifndef AP_KERNELS_H
#define AP_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Floats, or codes of some bits, packed from the lowest bit on with a byte to read beyond them.
   A code is book[code], or code - zero[row] without a book; a row belongs to one output and may
   have a scale. */
typedef struct {
  const float *values;
  const unsigned char *codes;
  const float *book;
  const short *zero;
  const float *scale;
  unsigned bits;
} ap_weight;

static inline unsigned ap_code(const ap_weight *w, size_t i) {
  size_t bit = i * w->bits;
  const unsigned char *at = w->codes + bit / 8;
  if (w->bits == 8) return w->codes[i];
  return ((unsigned)at[0] | (unsigned)at[1] << 8) >> bit % 8 & ((1u << w->bits) - 1u);
}

static inline float ap_at(const ap_weight *w, size_t row, size_t i) {
  float value;
  if (!w->codes)
    value = w->values[i];
  else if (w->book)
    value = w->book[ap_code(w, i)];
  else
    value = (float)((int)ap_code(w, i) - w->zero[row]);
  return w->scale ? value * w->scale[row] : value;
}

/* The product of a row of n values with x, in eight sums that may lie in one register. */
#define AP_SUMS 8
#define AP_DOT(VALUE)                                     \
  do {                                                    \
    for (i = 0; i < whole; i += AP_SUMS)                  \
      for (j = 0; j < AP_SUMS; j++) {                     \
        size_t at = i + j;                                \
        sums[j] += VALUE * x[at];                         \
      }                                                   \
    for (j = 0; j < n - whole; j++) {                     \
      size_t at = whole + j;                              \
      sums[j] += VALUE * x[at];                           \
    }                                                     \
  } while (0)

/* The n values of a row from the place first on, times x. */
static inline float ap_dot_from(const ap_weight *w, size_t row, size_t first, const float *x,
                                size_t n) {
  float sums[AP_SUMS] = {0.0f}, sum;
  size_t i, j, whole = n - n % AP_SUMS;
  int zero = w->zero ? w->zero[row] : 0;
  if (!w->codes) {
    const float *values = w->values + first;
    AP_DOT(values[at]);
  } else if (w->bits == 8) {
    const unsigned char *codes = w->codes + first;
    const float *book = w->book;
    if (book)
      AP_DOT(book[codes[at]]);
    else
      AP_DOT((float)((int)codes[at] - zero));
  } else if (w->book) {
    AP_DOT(w->book[ap_code(w, first + at)]);
  } else {
    AP_DOT((float)((int)ap_code(w, first + at) - zero));
  }
  sum = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
  return w->scale ? sum * w->scale[row] : sum;
}

static inline float ap_dot(const ap_weight *w, size_t row, const float *x, size_t n) {
  return ap_dot_from(w, row, row * n, x, n);
}

static inline float ap_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

static inline float ap_clamp(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}

/* A strided copy of up to five axes; strides may be 0 or negative. */
static inline void ap_copy(float *to, const ptrdiff_t *ts, const float *from, const ptrdiff_t *fs,
                           const size_t *n) {
  size_t a, b, c, d, e;
  for (a = 0; a < n[0]; a++)
    for (b = 0; b < n[1]; b++)
      for (c = 0; c < n[2]; c++)
        for (d = 0; d < n[3]; d++) {
          float *t = to + (ptrdiff_t)a * ts[0] + (ptrdiff_t)b * ts[1] + (ptrdiff_t)c * ts[2] +
                     (ptrdiff_t)d * ts[3];
          const float *f = from + (ptrdiff_t)a * fs[0] + (ptrdiff_t)b * fs[1] +
                           (ptrdiff_t)c * fs[2] + (ptrdiff_t)d * fs[3];
          for (e = 0; e < n[4]; e++) t[(ptrdiff_t)e * ts[4]] = f[(ptrdiff_t)e * fs[4]];
        }
}

static inline void ap_fill(float *to, float value, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) to[i] = value;
}

static inline void ap_take(float *to, const float *from, size_t outer, size_t count, size_t inner,
                           size_t axis, const float *index) {
  size_t o, i;
  for (o = 0; o < outer; o++)
    for (i = 0; i < count; i++)
      memcpy(to + (o * count + i) * inner, from + (o * axis + (size_t)index[i]) * inner,
             inner * sizeof(float));
}

static inline void ap_embed(float *to, const ap_weight *table, const float *index, size_t n,
                            size_t dim) {
  size_t i, j;
  for (i = 0; i < n; i++)
    for (j = 0; j < dim; j++) {
      size_t row = (size_t)index[i];
      to[i * dim + j] = ap_at(table, row, row * dim + j);
    }
}

static inline void ap_linear(float *to, const float *x, const ap_weight *w, const float *bias,
                             size_t rows, size_t in, size_t out) {
  size_t r, o;
  for (r = 0; r < rows; r++)
    for (o = 0; o < out; o++)
      to[r * out + o] = ap_dot(w, o, x + r * in, in) + (bias ? bias[o] : 0.0f);
}

static inline void ap_matmul(float *to, const float *a, const float *b, size_t batch, size_t m,
                             size_t k, size_t n, size_t b_step) {
  size_t z, i, j, l;
  for (z = 0; z < batch; z++)
    for (i = 0; i < m; i++)
      for (j = 0; j < n; j++) {
        float sum = 0.0f;
        for (l = 0; l < k; l++) sum += a[(z * m + i) * k + l] * b[z * b_step + l * n + j];
        to[(z * m + i) * n + j] = sum;
      }
}

static inline void ap_affine(float *to, const float *x, size_t outer, size_t channels,
                             size_t inner, const float *scale, const float *shift) {
  size_t o, c, i;
  for (o = 0; o < outer; o++)
    for (c = 0; c < channels; c++)
      for (i = 0; i < inner; i++) {
        size_t at = (o * channels + c) * inner + i;
        to[at] = x[at] * scale[c] + shift[c];
      }
}

static inline void ap_prelu(float *to, const float *x, size_t outer, size_t channels, size_t inner,
                            const float *slope, size_t slopes) {
  size_t o, c, i;
  for (o = 0; o < outer; o++)
    for (c = 0; c < channels; c++)
      for (i = 0; i < inner; i++) {
        size_t at = (o * channels + c) * inner + i;
        to[at] = x[at] > 0.0f ? x[at] : x[at] * slope[slopes > 1 ? c : 0];
      }
}

static inline void ap_layer_norm(float *to, const float *x, size_t rows, size_t n,
                                 const float *weight, const float *bias, float eps) {
  size_t r, i;
  for (r = 0; r < rows; r++) {
    const float *row = x + r * n;
    double mean = 0.0, power = 0.0;
    float scale;
    for (i = 0; i < n; i++) mean += row[i];
    mean /= (double)n;
    for (i = 0; i < n; i++) power += (row[i] - mean) * (row[i] - mean);
    scale = (float)(1.0 / sqrt(power / (double)n + (double)eps));
    for (i = 0; i < n; i++) {
      float value = (row[i] - (float)mean) * scale;
      to[r * n + i] = value * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
    }
  }
}

static inline void ap_sum(float *to, const float *x, size_t rows, size_t n, float share) {
  size_t r, i;
  for (r = 0; r < rows; r++) {
    float sum = 0.0f;
    for (i = 0; i < n; i++) sum += x[r * n + i];
    to[r] = sum * share;
  }
}

/* The largest of each row, or with sign -1 the smallest. */
static inline void ap_most(float *to, const float *x, size_t rows, size_t n, float sign) {
  size_t r, i;
  for (r = 0; r < rows; r++) {
    float most = x[r * n];
    for (i = 1; i < n; i++)
      if (sign * x[r * n + i] > sign * most) most = x[r * n + i];
    to[r] = most;
  }
}

/* Sums of squares, about the mean or about 0, times a share; or their roots. */
static inline void ap_spread(float *to, const float *x, size_t rows, size_t n, int centred,
                             double share, int root) {
  size_t r, i;
  for (r = 0; r < rows; r++) {
    const float *row = x + r * n;
    double mean = 0.0, power = 0.0;
    if (centred) {
      for (i = 0; i < n; i++) mean += row[i];
      mean /= (double)n;
    }
    for (i = 0; i < n; i++) power += (row[i] - mean) * (row[i] - mean);
    to[r] = (float)(root ? sqrt(power * share) : power * share);
  }
}

static inline void ap_cumsum(float *to, const float *x, size_t outer, size_t n, size_t inner) {
  size_t o, i, t;
  for (o = 0; o < outer; o++)
    for (i = 0; i < inner; i++) {
      float sum = 0.0f;
      for (t = 0; t < n; t++) to[(o * n + t) * inner + i] = sum += x[(o * n + t) * inner + i];
    }
}

static inline void ap_gate(float *to, const float *a, const float *b, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) to[i] = a[i] * ap_sigmoid(b[i]);
}

static inline void ap_hypot(float *to, const float *a, const float *b, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) to[i] = sqrtf(a[i] * a[i] + b[i] * b[i]);
}

/* A transform of real rows of n values, by its definition; the table holds n cosines of a turn
   and n sines. */
static inline void ap_rfft(float *real, float *imag, const float *x, size_t rows, size_t n,
                           size_t bins, const float *table) {
  size_t r, k, i;
  for (r = 0; r < rows; r++)
    for (k = 0; k < bins; k++) {
      float a = 0.0f, b = 0.0f;
      size_t at = 0;
      for (i = 0; i < n; i++) {
        a += x[r * n + i] * table[at];
        b -= x[r * n + i] * table[n + at];
        at += k; /* k is at most half a turn */
        if (at >= n) at -= n;
      }
      real[r * bins + k] = a;
      imag[r * bins + k] = b;
    }
}

static inline void ap_softmax(float *to, const float *x, size_t rows, size_t n, int logarithm) {
  size_t r, i;
  for (r = 0; r < rows; r++) {
    float most = x[r * n], sum = 0.0f;
    for (i = 1; i < n; i++)
      if (x[r * n + i] > most) most = x[r * n + i];
    for (i = 0; i < n; i++) sum += to[r * n + i] = expf(x[r * n + i] - most);
    for (i = 0; i < n; i++) {
      if (logarithm)
        to[r * n + i] = x[r * n + i] - most - logf(sum);
      else
        to[r * n + i] /= sum;
    }
  }
}

/* Sizes of a convolution over two axes; one over one axis has height 1. */
typedef struct {
  size_t batch, in, height, width, out, kernel_height, kernel_width;
  size_t stride_height, stride_width, pad_height, pad_width, dilation_height, dilation_width;
  size_t groups, out_height, out_width;
} ap_conv;

/* The first of n results whose column lies within the signal, and one behind the last. */
static inline size_t ap_first(size_t pad, size_t shift, size_t stride) {
  return pad > shift ? (pad - shift + stride - 1) / stride : 0;
}

static inline size_t ap_end(size_t pad, size_t shift, size_t stride, size_t size, size_t n) {
  size_t end = size + pad > shift ? (size + pad - shift - 1) / stride + 1 : 0;
  return end < n ? end : n;
}

/* A convolution with one result for each channel, as of a step: products with the patch that it
   sees, which is gathered part by part. */
#define AP_PART 64
static inline void ap_conv_once(float *to, const float *x, const ap_weight *w, const float *bias,
                                const ap_conv *s) {
  size_t out = s->out / s->groups, area = s->kernel_height * s->kernel_width, z, o, i, start;
  size_t n = s->in / s->groups * area, plane = s->height * s->width;
  for (z = 0; z < s->batch * s->groups; z++) {
    const float *group = x + z * (s->in / s->groups) * plane;
    size_t base = z % s->groups * out;
    for (o = 0; o < out; o++) to[z * out + o] = bias ? bias[base + o] : 0.0f;
    for (start = 0; start < n; start += AP_PART) {
      size_t count = n - start < AP_PART ? n - start : AP_PART;
      float part[AP_PART];
      for (i = 0; i < count; i++) {
        size_t at = (start + i) % area;
        size_t row = at / s->kernel_width * s->dilation_height;
        size_t column = at % s->kernel_width * s->dilation_width;
        int within = row >= s->pad_height && row - s->pad_height < s->height &&
                     column >= s->pad_width && column - s->pad_width < s->width;
        part[i] = within ? group[(start + i) / area * plane + (row - s->pad_height) * s->width +
                                 column - s->pad_width]
                         : 0.0f;
      }
      for (o = 0; o < out; o++)
        to[z * out + o] += ap_dot_from(w, base + o, (base + o) * n + start, part, count);
    }
  }
}

static inline void ap_conv2d(float *to, const float *x, const ap_weight *w, const float *bias,
                             const ap_conv *s) {
  size_t in = s->in / s->groups, out = s->out / s->groups, z, o, i, y, c, kh, kw;
  if (s->out_height * s->out_width == 1) {
    ap_conv_once(to, x, w, bias, s);
    return;
  }
  for (z = 0; z < s->batch; z++)
    for (o = 0; o < s->out; o++) {
      const float *group = x + (z * s->in + o / out * in) * s->height * s->width;
      float *plane = to + (z * s->out + o) * s->out_height * s->out_width;
      ap_fill(plane, bias ? bias[o] : 0.0f, s->out_height * s->out_width);
      for (c = 0; c < in; c++)
        for (kh = 0; kh < s->kernel_height; kh++)
          for (kw = 0; kw < s->kernel_width; kw++) {
            float weight =
                ap_at(w, o, ((o * in + c) * s->kernel_height + kh) * s->kernel_width + kw);
            size_t down = kh * s->dilation_height, right = kw * s->dilation_width;
            size_t first = ap_first(s->pad_width, right, s->stride_width);
            size_t end = ap_end(s->pad_width, right, s->stride_width, s->width, s->out_width);
            size_t last =
                ap_end(s->pad_height, down, s->stride_height, s->height, s->out_height);
            for (y = ap_first(s->pad_height, down, s->stride_height); y < last; y++) {
              size_t row = y * s->stride_height + down - s->pad_height;
              const float *line = group + (c * s->height + row) * s->width;
              float *results = plane + y * s->out_width;
              if (s->stride_width == 1)
                for (i = first; i < end; i++)
                  results[i] += weight * line[i + right - s->pad_width];
              else
                for (i = first; i < end; i++)
                  results[i] += weight * line[i * s->stride_width + right - s->pad_width];
            }
          }
    }
}

static inline void ap_deconv2d(float *to, const float *x, const ap_weight *w, const float *bias,
                               const ap_conv *s) {
  size_t in = s->in / s->groups, out = s->out / s->groups, z, o, i, y, c, kh, kw;
  for (z = 0; z < s->batch; z++)
    for (o = 0; o < s->out; o++) {
      size_t first = o / out * in;
      float *plane = to + (z * s->out + o) * s->out_height * s->out_width;
      ap_fill(plane, bias ? bias[o] : 0.0f, s->out_height * s->out_width);
      for (c = 0; c < in; c++)
        for (kh = 0; kh < s->kernel_height; kh++)
          for (kw = 0; kw < s->kernel_width; kw++) {
            size_t at = ((first + c) * out + o % out) * s->kernel_height + kh;
            float weight = ap_at(w, o, at * s->kernel_width + kw);
            for (y = 0; y < s->height; y++) {
              size_t row = y * s->stride_height + kh * s->dilation_height;
              const float *line = x + ((z * s->in + first + c) * s->height + y) * s->width;
              if (row < s->pad_height || row - s->pad_height >= s->out_height) continue;
              for (i = 0; i < s->width; i++) {
                size_t column = i * s->stride_width + kw * s->dilation_width;
                if (column < s->pad_width || column - s->pad_width >= s->out_width) continue;
                plane[(row - s->pad_height) * s->out_width + column - s->pad_width] +=
                    weight * line[i];
              }
            }
          }
    }
}

/* The largest or the mean of each window; sizes as of a convolution, channels in ``in``. */
static inline void ap_pool(float *to, const float *x, int largest, const ap_conv *s) {
  size_t c, y, i, kh, kw;
  float share = 1.0f / (float)(s->kernel_height * s->kernel_width);
  for (c = 0; c < s->in; c++)
    for (y = 0; y < s->out_height; y++)
      for (i = 0; i < s->out_width; i++) {
        float sum = 0.0f, most = -INFINITY;
        for (kh = 0; kh < s->kernel_height; kh++)
          for (kw = 0; kw < s->kernel_width; kw++) {
            size_t row = y * s->stride_height + kh * s->dilation_height;
            size_t column = i * s->stride_width + kw * s->dilation_width;
            float value;
            if (row < s->pad_height || row - s->pad_height >= s->height) continue;
            if (column < s->pad_width || column - s->pad_width >= s->width) continue;
            value = x[(c * s->height + row - s->pad_height) * s->width + column - s->pad_width];
            sum += value;
            if (value > most) most = value;
          }
        to[(c * s->out_height + y) * s->out_width + i] = largest ? most : sum * share;
      }
}

/* One direction of one recurrent layer. Strides say where step t of sequence b lies; h and c are
   (batch, units) and are changed in place; gates holds 4 * units (LSTM) or 6 * units (GRU). */
typedef struct {
  size_t steps, batch, in, units;
  ptrdiff_t x_step, x_batch, y_step, y_batch;
  int backwards;
} ap_rnn;

static inline void ap_lstm(float *y, const float *x, float *h, float *c, const ap_weight *wi,
                           const ap_weight *wh, const float *bi, const float *bh, float *gates,
                           const ap_rnn *s) {
  size_t n = s->units, t, b, i;
  for (t = 0; t < s->steps; t++)
    for (b = 0; b < s->batch; b++) {
      ptrdiff_t at = (ptrdiff_t)(s->backwards ? s->steps - 1 - t : t);
      const float *row = x + at * s->x_step + (ptrdiff_t)b * s->x_batch;
      float *out = y + at * s->y_step + (ptrdiff_t)b * s->y_batch;
      for (i = 0; i < 4 * n; i++)
        gates[i] = ap_dot(wi, i, row, s->in) + ap_dot(wh, i, h + b * n, n) +
                   (bi ? bi[i] + bh[i] : 0.0f);
      for (i = 0; i < n; i++) {
        float kept = ap_sigmoid(gates[n + i]) * c[b * n + i];
        c[b * n + i] = kept + ap_sigmoid(gates[i]) * tanhf(gates[2 * n + i]);
      }
      for (i = 0; i < n; i++)
        out[i] = h[b * n + i] = ap_sigmoid(gates[3 * n + i]) * tanhf(c[b * n + i]);
    }
}

static inline void ap_gru(float *y, const float *x, float *h, const ap_weight *wi,
                          const ap_weight *wh, const float *bi, const float *bh, float *gates,
                          const ap_rnn *s) {
  size_t n = s->units, t, b, i;
  float *own = gates + 3 * n;
  for (t = 0; t < s->steps; t++)
    for (b = 0; b < s->batch; b++) {
      ptrdiff_t at = (ptrdiff_t)(s->backwards ? s->steps - 1 - t : t);
      const float *row = x + at * s->x_step + (ptrdiff_t)b * s->x_batch;
      float *out = y + at * s->y_step + (ptrdiff_t)b * s->y_batch;
      for (i = 0; i < 3 * n; i++) {
        gates[i] = ap_dot(wi, i, row, s->in) + (bi ? bi[i] : 0.0f);
        own[i] = ap_dot(wh, i, h + b * n, n) + (bh ? bh[i] : 0.0f);
      }
      for (i = 0; i < n; i++) {
        float reset = ap_sigmoid(gates[i] + own[i]);
        float keep = ap_sigmoid(gates[n + i] + own[n + i]);
        float fresh = tanhf(gates[2 * n + i] + reset * own[2 * n + i]);
        out[i] = h[b * n + i] = (1.0f - keep) * fresh + keep * h[b * n + i];
      }
    }
}

static inline void ap_simple(float *y, const float *x, float *h, const ap_weight *wi,
                             const ap_weight *wh, const float *bi, const float *bh, float *gates,
                             const ap_rnn *s, int rectified) {
  size_t n = s->units, t, b, i;
  for (t = 0; t < s->steps; t++)
    for (b = 0; b < s->batch; b++) {
      ptrdiff_t at = (ptrdiff_t)(s->backwards ? s->steps - 1 - t : t);
      const float *row = x + at * s->x_step + (ptrdiff_t)b * s->x_batch;
      float *out = y + at * s->y_step + (ptrdiff_t)b * s->y_batch;
      for (i = 0; i < n; i++)
        gates[i] = ap_dot(wi, i, row, s->in) + ap_dot(wh, i, h + b * n, n) +
                   (bi ? bi[i] + bh[i] : 0.0f);
      for (i = 0; i < n; i++) {
        float fresh = rectified ? (gates[i] > 0.0f ? gates[i] : 0.0f) : tanhf(gates[i]);
        out[i] = h[b * n + i] = fresh;
      }
    }
}

#endif
