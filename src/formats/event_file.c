#include "formats/event_file.h"

#include "base/file.h"
#include "base/host.h"
#include "nnmf/memory.h"

#include "event.pb-c.h"
#include "formats/event_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- the name ---- */

/* Raises *latest to the latest time in the names of the event files in `folder`. */
static bool latest_in_folder(const char *folder, int64_t *latest, Error *error)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return fail(error, "cannot read: %s: %s", folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(listing));) {
        size_t prefix = strlen(EVENT_FILE_PREFIX);
        if (strncmp(entry->d_name, EVENT_FILE_PREFIX, prefix) != 0)
            continue;
        int64_t seconds = strtoll(entry->d_name + prefix, NULL, 10);
        if (seconds > *latest && seconds < INT64_MAX)
            *latest = seconds;
    }
    closedir(listing);
    return true;
}

static bool choose_path(EventFile *file, const char *folder, Error *error)
{
    int64_t latest = 0, now = time(NULL);
    if (!latest_in_folder(folder, &latest, error))
        return false;
    char host[HOST_NAME], name[160];
    host_name(host);
    snprintf(name, sizeof name, EVENT_FILE_PREFIX "%010" PRId64 ".%s.%ld",
             now > latest ? now : latest + 1, host, (long)getpid());
    return file_join(file->path, sizeof file->path, folder, name, error);
}

/* ---- records ---- */

static bool reserve_bytes(EventFile *file, size_t bytes, Error *error)
{
    if (file->capacity - file->length >= bytes)
        return true;
    size_t capacity = 2 * file->capacity + bytes; /* each is far below SIZE_MAX / 4 */
    uint8_t *more = memory_allocate(capacity, 1, file->path, error);
    if (!more)
        return false;
    if (file->length > 0)
        memcpy(more, file->pending, file->length);
    memory_free(file->pending);
    file->pending = more;
    file->capacity = capacity;
    return true;
}

static double wall_time(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_REALTIME, &now) == 0
               ? (double)now.tv_sec + 1e-9 * (double)now.tv_nsec
               : 0.0;
}

static bool add_event(EventFile *file, Tensorflow__Event *event, Error *error)
{
    event->wall_time = wall_time();
    size_t size = tensorflow__event__get_packed_size(event);
    if (size > RECORD_MAX_DATA)
        return fail(error, "event too large: %s: %zu bytes, at most %d were expected", file->path,
                    size, RECORD_MAX_DATA);
    if (!reserve_bytes(file, RECORD_HEADER + size + RECORD_FOOTER, error))
        return false;
    uint8_t *record = file->pending + file->length, *data = record + RECORD_HEADER;
    put_little_endian(record, size, 8);
    put_little_endian(record + 8, masked_crc32c(record, 8), 4);
    tensorflow__event__pack(event, data);
    put_little_endian(data + size, masked_crc32c(data, size), 4);
    file->length += RECORD_HEADER + size + RECORD_FOOTER;
    return true;
}

/* Adds an event with one value, whose tag it sets. protobuf-c does not modify the messages it
 * packs, although its pointers are not const. */
static bool add_value(EventFile *file, uint64_t step, const char *tag,
                      Tensorflow__Summary__Value *value, Error *error)
{
    Tensorflow__Summary summary = TENSORFLOW__SUMMARY__INIT;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    value->tag = (char *)tag;
    summary.n_value = 1;
    summary.value = &value;
    event.step = (int64_t)step;
    event.what_case = TENSORFLOW__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return add_event(file, &event, error);
}

bool event_file_open(EventFile *file, const char *folder, Error *error)
{
    *file = (EventFile){.descriptor = -1};
    Tensorflow__SourceMetadata source = TENSORFLOW__SOURCE_METADATA__INIT;
    source.writer = (char *)EVENT_FILE_WRITER;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    event.what_case = TENSORFLOW__EVENT__WHAT_FILE_VERSION;
    event.file_version = (char *)EVENT_FILE_VERSION;
    event.source_metadata = &source;
    return choose_path(file, folder, error) && add_event(file, &event, error);
}

bool event_file_restart(EventFile *file, uint64_t step, Error *error)
{
    Tensorflow__SessionLog log = TENSORFLOW__SESSION_LOG__INIT;
    log.status = TENSORFLOW__SESSION_LOG__SESSION_STATUS__START;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    event.step = (int64_t)step;
    event.what_case = TENSORFLOW__EVENT__WHAT_SESSION_LOG;
    event.session_log = &log;
    return add_event(file, &event, error);
}

bool event_file_scalar(EventFile *file, uint64_t step, const char *tag, double number, Error *error)
{
    Tensorflow__Summary__Value value = TENSORFLOW__SUMMARY__VALUE__INIT;
    value.value_case = TENSORFLOW__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
    value.simple_value = (float)number;
    return add_value(file, step, tag, &value, error);
}

bool event_file_picture(EventFile *file, uint64_t step, const char *tag, const Picture *picture,
                        Error *error)
{
    uint8_t *png;
    size_t count;
    if (!picture_encode_png(picture, &png, &count, error))
        return false;
    Tensorflow__Summary__Image image = TENSORFLOW__SUMMARY__IMAGE__INIT;
    image.height = picture->height;
    image.width = picture->width;
    image.colorspace = picture->channels;
    image.encoded_image_string = (ProtobufCBinaryData){.len = count, .data = png};
    Tensorflow__Summary__Value value = TENSORFLOW__SUMMARY__VALUE__INIT;
    value.value_case = TENSORFLOW__SUMMARY__VALUE__VALUE_IMAGE;
    value.image = &image;
    bool added = add_value(file, step, tag, &value, error);
    memory_free(png);
    return added;
}

/* A tensor of one string, which the metadata assign to the text plugin. The plugin's own message
 * holds its version, 0, and is therefore empty (tensorboard/plugins/text/plugin_data.proto). */
bool event_file_text(EventFile *file, uint64_t step, const char *tag, const char *markdown,
                     Error *error)
{
    Tensorflow__SummaryMetadata__PluginData plugin =
        TENSORFLOW__SUMMARY_METADATA__PLUGIN_DATA__INIT;
    plugin.plugin_name = (char *)"text";
    Tensorflow__SummaryMetadata metadata = TENSORFLOW__SUMMARY_METADATA__INIT;
    metadata.plugin_data = &plugin;
    metadata.data_class = TENSORFLOW__DATA_CLASS__DATA_CLASS_TENSOR;

    Tensorflow__TensorShapeProto__Dim one = TENSORFLOW__TENSOR_SHAPE_PROTO__DIM__INIT;
    one.size = 1;
    Tensorflow__TensorShapeProto shape = TENSORFLOW__TENSOR_SHAPE_PROTO__INIT;
    shape.n_dim = 1;
    shape.dim = (Tensorflow__TensorShapeProto__Dim *[]){&one};
    ProtobufCBinaryData text = {.len = strlen(markdown), .data = (uint8_t *)markdown};
    Tensorflow__TensorProto tensor = TENSORFLOW__TENSOR_PROTO__INIT;
    tensor.dtype = TENSORFLOW__DATA_TYPE__DT_STRING;
    tensor.tensor_shape = &shape;
    tensor.n_string_val = 1;
    tensor.string_val = &text;

    Tensorflow__Summary__Value value = TENSORFLOW__SUMMARY__VALUE__INIT;
    value.metadata = &metadata;
    value.value_case = TENSORFLOW__SUMMARY__VALUE__VALUE_TENSOR;
    value.tensor = &tensor;
    return add_value(file, step, tag, &value, error);
}

/* ---- to disk ---- */

static bool write_fully(int descriptor, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        ssize_t put = write(descriptor, bytes, count);
        if (put < 0 && errno != EINTR)
            return false;
        if (put > 0) {
            bytes += put;
            count -= (size_t)put;
        }
    }
    return true;
}

bool event_file_flush(EventFile *file, Error *error)
{
    if (file->length == 0)
        return true;
    if (file->descriptor < 0)
        file->descriptor =
            open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (file->descriptor < 0)
        return fail(error, "cannot write: %s: %s", file->path, strerror(errno));
    if (!write_fully(file->descriptor, file->pending, file->length) ||
        fsync(file->descriptor) != 0) {
        const char *reason = strerror(errno);
        bool restored = ftruncate(file->descriptor, (off_t)file->written) == 0;
        return fail(error, "cannot write: %s: %s%s", file->path, reason,
                    restored ? "" : "; it may end in a partial event, where readers stop");
    }
    file->written += file->length;
    file->length = 0;
    return true;
}

void event_file_close(EventFile *file)
{
    if (file->path[0] && file->descriptor >= 0)
        close(file->descriptor);
    memory_free(file->pending);
    *file = (EventFile){.descriptor = -1};
}

void event_file_remove(EventFile *file)
{
    if (file->path[0] && file->descriptor >= 0)
        unlink(file->path);
    event_file_close(file);
}
