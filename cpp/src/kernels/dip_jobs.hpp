// What entry points ask of the kernels that look at the dips of one star. Plain structs, as kernels.hpp says.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Boxes near a known epoch: over trial frequencies, mid-transit times and durations.
struct NearBoxJob {
    const double *time, *flux, *weight; // (n_point,)
    size_t n_point;
    double epoch;
    double mean;             // taken from the flux
    double total_weight;     // of all points
    const double* frequency; // (n_frequency,)
    size_t n_frequency;
    double lowest, highest; // of these
    double half_window;     // boxes lie within it, days
    size_t n_cell;          // across the window
    size_t least, most;     // cells per box
    uint8_t* near;          // scratch (n_point,)
    double* offset;         // scratch (n_point + 1,)
    double* weighted;       // scratch (n_point + 1, 2): weight, and weight times flux
    int32_t* cell;          // scratch (n_point,)
    double* sums;           // scratch (n_cell + 1, 2)
    double* running;        // scratch (2, n_cell + 1)
    // Written: squared depth w_in w_out / (w_in + w_out), 0 without a dip, and which box that is.
    double gain;
    size_t i_frequency, first, n;
};

// Every event of an ephemeris against a trapezoid of depth 1; lengths in units of the duration, length 0: a box.
struct EventJob {
    const double *time, *flux, *weight; // (n_point,)
    size_t n_point;
    double level; // taken from the flux
    double period, t0, duration;
    double length, bottom, smear;
    double first;                   // number of the first event
    double *number, *offset;        // scratch (n_point,)
    double *count, *wm, *wmm, *wmy; // (n_event,) added to: points within half a duration, and sums over the shape
};

// Points away from the events of an ephemeris, and from those at another epoch (NaN: none).
struct QuietJob {
    const double *time, *flux, *weight; // (n_point,)
    size_t n_point;
    double period, t0, other_t0, half_width;
    uint8_t* away;                                  // scratch (n_point,)
    double *quiet_time, *quiet_flux, *quiet_weight; // written, (n_point + 1,)
    size_t n_quiet;                                 // written
};

// A light curve folded into cells of a period.
struct PhaseJob {
    const double *time, *flux, *weight; // (n_point,)
    size_t n_point;
    double level, period, t0;
    size_t n_cell;
    int32_t* cell;         // scratch (n_point,)
    double *sum_w, *sum_y; // (n_cell,) added to
};

// Trapezoids of all lengths, bottoms and shifts against folded points, each with its best depth.
struct ShapeJob {
    const double *place, *flux, *weight; // (n_point,)
    size_t n_point;
    const double* length; // (n_length,)
    size_t n_length;
    const double *bottom, *shift; // (n_lane,) of each lane
    size_t n_lane;
    double smear;
    double* scratch; // (4, n_lane)
    double* chi2;    // written, (n_length, n_lane)
};

struct DipKernels {
    void (*near_boxes)(NearBoxJob& job);
    void (*event_sums)(const EventJob& job);
    void (*quiet_points)(QuietJob& job);
    void (*phase_sums)(const PhaseJob& job);
    void (*shapes)(const ShapeJob& job);
};

} // namespace starskope::detail
