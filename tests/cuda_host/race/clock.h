/* Vector clocks of a grid's threads (Mattern, "Virtual Time and Global States of Distributed
 * Systems", 1989). */
#ifndef CUDA_HOST_RACE_CLOCK_H
#define CUDA_HOST_RACE_CLOCK_H

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace cuda_host
{
namespace race
{

/* The progress of a thread. */
struct Point {
    unsigned thread;
    uint32_t epoch;
};

/* The known progress of each thread; 0: none. Clocks share their numbers, which never change once
 * created, because the threads of a block mostly know the same. */
class Clock
{
    std::shared_ptr<const std::vector<uint32_t>> epochs;

    static bool covers(const std::vector<uint32_t> &all, const std::vector<uint32_t> &part)
    {
        for (size_t i = 0; i < part.size(); i++)
            if (part[i] > (i < all.size() ? all[i] : 0))
                return false;
        return true;
    }

  public:
    uint32_t of(unsigned thread) const
    {
        return epochs && thread < epochs->size() ? (*epochs)[thread] : 0;
    }

    void join(const Clock &other)
    {
        if (!other.epochs || epochs == other.epochs)
            return;
        if (!epochs || covers(*other.epochs, *epochs)) {
            epochs = other.epochs;
            return;
        }
        if (covers(*epochs, *other.epochs))
            return;
        std::vector<uint32_t> both = *epochs;
        both.resize(std::max(both.size(), other.epochs->size()));
        for (size_t i = 0; i < other.epochs->size(); i++)
            both[i] = std::max(both[i], (*other.epochs)[i]);
        epochs = std::make_shared<const std::vector<uint32_t>>(std::move(both));
    }

    void add(const std::vector<Point> &points)
    {
        std::vector<uint32_t> all;
        if (epochs)
            all = *epochs;
        for (const Point &point : points) {
            if (point.thread >= all.size())
                all.resize(point.thread + 1);
            all[point.thread] = std::max(all[point.thread], point.epoch);
        }
        epochs = std::make_shared<const std::vector<uint32_t>>(std::move(all));
    }
};

} // namespace race
} // namespace cuda_host

#endif
